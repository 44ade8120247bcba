"""Write images as a binary stream of MRD version 2."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cinerecon.image import CineImage, window
from cinerecon.io.ismrmrd.images import image_attributes
from cinerecon.io.ismrmrd.raw import TICK_MS
from cinerecon.io.mrd2.header import header_from_xml
from cinerecon.io.mrd2.package import load_mrd


def write_mrd2_images(path: Path, cines: list[CineImage]) -> None:
    """Write the magnitude of all slices and frames, then the complex images unless they are maps.

    Raises
    ------
    FileError
        If the package ``mrd-python`` is not installed.
    """
    mrd = load_mrd(str(path))
    xml = cines[0].header_xml
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(header_from_xml(xml.encode(), mrd) if xml else None)
        writer.write_data(_items(cines, mrd))


def _items(cines: list[CineImage], mrd: ModuleType) -> Iterator[Any]:
    white = window([cine.magnitude for cine in cines])
    for series, is_complex in enumerate([False] if cines[0].quantity else [False, True]):
        index = 0
        for cine in cines:
            meta = _meta(image_attributes(cine, white), mrd)
            for frame in range(cine.n_frames):
                index += 1
                head = _head(cine, frame, is_complex, mrd)
                head.image_index, head.image_series_index = index, series
                values = cine.image[frame].astype(np.complex64) if is_complex else cine.magnitude[frame]
                image = mrd.Image(head=head, data=np.ascontiguousarray(values)[None, None], meta=meta)
                yield mrd.StreamItem.ImageComplexFloat(image) if is_complex else mrd.StreamItem.ImageFloat(image)


def _head(cine: CineImage, frame: int, is_complex: bool, mrd: ModuleType) -> Any:
    (y, x), (dy, dx) = cine.matrix, cine.meta.pixel_size_mm
    head = mrd.ImageHeader(image_type=mrd.ImageType.COMPLEX if is_complex else mrd.ImageType.MAGNITUDE)
    head.field_of_view = np.array([x * dx, y * dy, cine.meta.slice_thickness_mm], np.float32)
    head.slice, head.phase = cine.meta.slice, frame
    if len(cine.meta.frame_times_ms) == cine.n_frames:
        head.physiology_time_stamp = [round(cine.meta.frame_times_ms[frame] / TICK_MS)]
    geometry = cine.meta.geometry
    if geometry is not None:
        head.position = np.array(geometry.position_mm, np.float32)
        head.col_dir = np.array(geometry.read_dir, np.float32)
        head.line_dir = np.array(geometry.phase_dir, np.float32)
        head.slice_dir = np.array(geometry.slice_dir, np.float32)
    return head


def _meta(values: dict[str, object], mrd: ModuleType) -> dict[str, list[Any]]:
    """Meta attributes, all as texts."""
    parts = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    return {name: [mrd.ImageMetaValue.String(str(text)) for text in texts] for name, texts in parts.items()}
