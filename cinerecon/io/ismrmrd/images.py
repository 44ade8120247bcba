"""Writer of ISMRMRD (MRD) images with geometry and frame times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import h5py
import numpy as np
from ismrmrd.hdf5 import image_header_dtype
from numpy.typing import NDArray

from cinerecon.image import DEIDENTIFIED, CineImage, each, window
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.ismrmrd.raw import TICK_MS
from cinerecon.words import printable

FLOAT32, COMPLEX64 = 5, 7
MAGNITUDE, PHASE, COMPLEX = 1, 2, 5


def write_mrd_images(path: Path, cines: list[CineImage]) -> None:
    """Write series of magnitude images and, except for maps, of complex images: ``dataset/image_0``, ``image_1``, etc.

    Slices of different matrix sizes are in separate series. Each series has three datasets: ``data`` (images, channel,
    z, y, x), ``header`` and ``attributes``. The header of the raw scan is included, since some programs require it.
    """
    with new_hdf5(path) as file:
        group = file.create_group("dataset")
        if cines[0].header_xml:
            text = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
            text[0] = cines[0].header_xml.encode()
        for series in image_series(cines):
            _write_series(group.create_group(f"image_{series.number}"), series)


class SliceImages(NamedTuple):
    """The images of one slice in a series, in a form common to all ISMRMRD formats.

    Attributes
    ----------
    cine
        The slice.
    heads
        ``(frames,)`` image headers.
    attributes
        Meta attributes, the same for all frames.
    values
        ``(frames, y, x)`` float32, or complex64 in complex series.
    """

    cine: CineImage
    heads: NDArray[np.void]
    attributes: dict[str, object]
    values: NDArray[np.float32] | NDArray[np.complex64]


@dataclass(frozen=True)
class Series:
    """A series of images of one matrix size: its number, its slices, and whether the images are complex."""

    number: int
    cines: Sequence[CineImage]
    is_complex: bool = False

    def slices(self, first: int = 0) -> Iterator[SliceImages]:
        """The images of each slice, with a common display window, numbered after ``first`` earlier images."""
        white = window(cine.magnitude for cine in each(self.cines))
        for cine in each(self.cines):
            values = cine.image.astype(np.complex64) if self.is_complex else cine.values
            heads = _image_headers(cine, self.number, first, self.is_complex)
            yield SliceImages(cine, heads, _image_attributes(cine, white), values)
            first += cine.n_frames


def image_series(cines: Sequence[CineImage]) -> Iterator[Series]:
    """The series of all slices: magnitude images, followed by complex images except for maps."""
    by_matrix: dict[tuple[int, int], list[CineImage]] = {}
    for cine in cines:
        by_matrix.setdefault(cine.matrix, []).append(cine)
    members = [(part, False) for part in by_matrix.values()]
    members += [(part, True) for part in by_matrix.values() if not part[0].quantity]
    for number, (part, is_complex) in enumerate(members):
        yield Series(number, part, is_complex)


def stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The data type of pixels in a file, with the names real and imag of the standard instead of r and i of h5py."""
    if dtype.kind != "c":
        return dtype
    part = np.zeros(0, dtype).real.dtype
    return np.dtype([("real", part), ("imag", part)])


def _write_series(group: h5py.Group, series: Series) -> None:
    stored = stored_type(np.dtype(np.complex64 if series.is_complex else np.float32))
    n_images = sum(cine.n_frames for cine in series.cines)
    y, x = series.cines[0].matrix
    data = group.create_dataset("data", (n_images, 1, 1, y, x), maxshape=(None, 1, 1, y, x), dtype=stored)
    headers = np.zeros(n_images, image_header_dtype)
    attributes: list[str] = []
    for part in series.slices():
        own = slice(len(attributes), len(attributes) + len(part.heads))
        data[own, 0, 0] = np.ascontiguousarray(part.values).view(stored)
        headers[own] = part.heads
        attributes += [meta_xml(part.attributes)] * len(part.heads)
    headers["attribute_string_len"] = [len(text.encode()) for text in attributes]
    group.create_dataset("header", data=headers, maxshape=(None,))
    texts = group.create_dataset("attributes", (n_images,), maxshape=(None,), dtype=h5py.special_dtype(vlen=str))
    texts[:] = attributes


def _image_headers(cine: CineImage, series: int, first: int, is_complex: bool) -> NDArray[np.void]:
    """Headers of the frames of a slice in a series, numbered after ``first`` earlier images."""
    headers = np.zeros(cine.n_frames, image_header_dtype)
    frames = np.arange(cine.n_frames)
    (y, x), (dy, dx) = cine.matrix, cine.meta.pixel_size_mm
    headers["version"] = 1
    headers["data_type"] = COMPLEX64 if is_complex else FLOAT32
    headers["image_type"] = COMPLEX if is_complex else PHASE if cine.quantity == "velocity" else MAGNITUDE
    headers["matrix_size"] = (x, y, 1)
    headers["field_of_view"] = (x * dx, y * dy, cine.meta.slice_thickness_mm)
    headers["channels"] = 1
    headers["slice"] = cine.meta.slice
    headers["phase"] = frames
    headers["image_index"] = first + frames + 1
    headers["image_series_index"] = series
    if cine.times_ms:  # the field is unsigned: if times begin before the R wave, they are relative to the first
        times = np.array(cine.times_ms)
        headers["physiology_time_stamp"][:, 0] = np.round((times - min(times[0], 0)) / TICK_MS)
    geometry = cine.meta.geometry
    if geometry is not None:
        headers["position"] = geometry.position_mm
        headers["read_dir"] = geometry.read_dir
        headers["phase_dir"] = geometry.phase_dir
        headers["slice_dir"] = geometry.slice_dir
    return headers


def _image_attributes(cine: CineImage, white: float) -> dict[str, object]:
    """Meta attributes of an image: its processing, and the display window from 0 to ``white``."""
    values: dict[str, object] = {
        "DataRole": "Image",
        "ImageProcessingHistory": f"cinerecon {cine.title}".strip(),
        "ImageComments": cine.remarks,
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": DEIDENTIFIED,
        "Keep_image_geometry": 1,
        "WindowCenter": f"{white / 2:.6g}",
        "WindowWidth": f"{white:.6g}",
    }
    if cine.quantity == "velocity":
        values |= {"WindowCenter": "0", "WindowWidth": f"{2 * cine.venc_cm_s:.6g}"}
        values |= {"Quantity": "velocity", "Unit": "cm/s", "VENC_cm_s": f"{cine.venc_cm_s:.6g}"}
    if cine.provenance is not None:
        values |= {f"cinerecon_{name}": text for name, text in cine.provenance.texts.items()}
    if cine.frame_interval_ms is not None:
        values["FrameInterval_ms"] = f"{cine.frame_interval_ms:.6g}"
    if cine.meta.geometry is not None:
        values["ImageRowDir"] = cine.meta.geometry.read_dir
        values["ImageColumnDir"] = cine.meta.geometry.phase_dir
    return values


def meta_xml(values: Mapping[str, object]) -> str:
    """Encode meta attributes as XML."""
    lines = ['<?xml version="1.0"?>', "<ismrmrdMeta>"]
    for name, value in values.items():
        parts = value if isinstance(value, tuple) else (value,)
        texts = "".join(f"<value>{escape(printable(str(part)))}</value>" for part in parts)
        lines.append(f"<meta><name>{name}</name>{texts}</meta>")
    return "\n".join([*lines, "</ismrmrdMeta>"]) + "\n"
