"""Images in binary streams of MRD version 2."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ismrmrd.hdf5 import image_header_dtype
from ismrmrd.image import get_data_type_from_dtype

from cinerecon.image import CineImage
from cinerecon.io.ismrmrd.images import image_series, meta_xml
from cinerecon.io.mrd2.header import header_from_xml
from cinerecon.io.mrd2.items import read_items
from cinerecon.io.mrd2.scan import load_mrd
from cinerecon.io.mrd_stream.images import by_series
from cinerecon.io.mrd_stream.messages import ImageMessage

GEOMETRY = ("position", "col_dir", "line_dir", "slice_dir")
VECTORS = ("field_of_view", *GEOMETRY, "patient_table_position")
NAMES = {"col_dir": "read_dir", "line_dir": "phase_dir"}
"""Fields with another name in version 1: the directions along a row and along a column."""
COUNTERS = (
    *("average", "slice", "contrast", "phase", "repetition", "set"),
    *("acquisition_time_stamp", "image_index", "image_series_index"),
)


def write_mrd2_images(path: Path, cines: list[CineImage]) -> None:
    """Write the same series as `write_mrd_images`: magnitude images and, except for maps, complex images.

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
    for series in image_series(cines):
        for part in series.slices():
            meta = _meta(part.attributes, mrd)
            for head, values in zip(part.heads, part.values, strict=True):
                data = np.ascontiguousarray(values)[None, None]
                image = mrd.Image(head=_head(part.cine, head, mrd), data=data, meta=meta)
                yield mrd.StreamItem.ImageComplexFloat(image) if series.is_complex else mrd.StreamItem.ImageFloat(image)


def _head(cine: CineImage, head: np.void, mrd: ModuleType) -> Any:
    """Convert the header of a frame from version 1; unknown times and positions are omitted."""
    out = mrd.ImageHeader(image_type=mrd.ImageType(int(head["image_type"])))
    for name in ("slice", "phase", "image_index", "image_series_index"):
        setattr(out, name, int(head[name]))
    if cine.times_ms:
        out.physiology_time_stamp = [int(head["physiology_time_stamp"][0])]
    for name in ("field_of_view", *(GEOMETRY if cine.meta.geometry else ())):
        setattr(out, name, np.array(head[NAMES.get(name, name)], np.float32))
    return out


def _meta(values: dict[str, object], mrd: ModuleType) -> dict[str, list[Any]]:
    """Meta attributes as text values."""
    parts = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
    return {name: [mrd.ImageMetaValue.String(str(text)) for text in texts] for name, texts in parts.items()}


def read_mrd2_images(path: Path) -> list[list[ImageMessage]]:
    """Read the images of a stream by series, converted to version 1.

    Raises
    ------
    FileError
        If the package ``mrd-python`` is not installed, or the stream is damaged or truncated.
    DataError
        If the images of a series differ in size.
    """
    mrd = load_mrd(str(path))
    with path.open("rb") as file:
        _, items = read_items(file, path, mrd)
        images = [_message(item.value) for item in items if isinstance(getattr(item, "value", None), mrd.Image)]
    return [members for _, members in by_series(images, str(path))]


def _message(image: Any) -> ImageMessage:
    """Convert an image with its header and meta attributes to version 1."""
    source, values = image.head, np.array(image.data)
    head = np.zeros(1, image_header_dtype)
    head["version"], head["image_type"] = 1, int(source.image_type.value)
    head["flags"], head["measurement_uid"] = int(source.flags.value), source.measurement_uid
    head["data_type"] = get_data_type_from_dtype(values.dtype)
    head["channels"], head["matrix_size"] = len(values), values.shape[:0:-1]
    for name in VECTORS:
        head[NAMES.get(name, name)] = getattr(source, name)
    for name in COUNTERS:
        head[name] = getattr(source, name) or 0
    stamps = source.physiology_time_stamp[: head["physiology_time_stamp"].shape[-1]]
    head["physiology_time_stamp"][0, : len(stamps)] = stamps
    attributes = {name: tuple(part.value for part in parts) for name, parts in image.meta.items()}
    message: np.void = head[0]
    return ImageMessage(message, meta_xml(attributes), values)
