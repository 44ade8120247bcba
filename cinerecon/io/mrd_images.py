"""Reader of images in ISMRMRD files (HDF5) and in streams of MRD version 1 and 2."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import Geometry
from cinerecon.errors import DataError, FileError
from cinerecon.image import map_in_remarks
from cinerecon.io.hdf5 import is_group, member, require_hdf5
from cinerecon.io.mrd2.images import read_mrd2_images
from cinerecon.io.mrd_stream.error_image import is_error_image
from cinerecon.io.mrd_stream.images import read_stream_images
from cinerecon.io.recognise import is_mrd2, is_mrd_stream

Array = NDArray[Any]
Heads = NDArray[np.void]

DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")
VALUE = re.compile(r"<value>([^<]*)</value>")
"""A value in the meta attributes of an image."""
NOT_SHOWN = (2, 3, 4)
"""Types of ISMRMRD images that are ignored: phase, real part, imaginary part."""


@dataclass(frozen=True)
class Placement:
    """Position and pixel size of a slice, and whether it is a real-time series.

    Attributes
    ----------
    geometry
        Position and orientation; None if unknown.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm]; None if unknown.
    is_real_time
        Whether the frames are known not to be one heartbeat.
    """

    geometry: Geometry | None = None
    pixel_size_mm: tuple[float, float] | None = None
    is_real_time: bool = False


def read_mrd_images(path: Path) -> list[tuple[Array, Placement]]:
    """Read the slices, ``(frames, y, x)`` each, with their placement.

    If several series contain a slice, the last one is used. In files of this package, these are the complex images,
    which follow the magnitude images.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it contains no magnitude or complex images, or a map.
    """
    is_stream = is_mrd2(path) or is_mrd_stream(path)
    slices: dict[int, tuple[Array, Placement]] = {}
    is_empty = True
    for values, heads, attributes in _stream_series(path) if is_stream else _file_series(path):
        is_empty = False
        quantity = map_in_remarks(VALUE.findall(attributes))
        if quantity:
            raise map_error(quantity, path)
        if not set(heads["image_type"]) & set(NOT_SHOWN):
            slices |= _slices_of(values, heads)
    if not slices and not is_empty:
        what = "there are only phase, real or imaginary images, no magnitude or complex images"
        raise DataError(what, where=str(path))
    if not slices:
        what = "the stream contains no images" if is_stream else "the file contains no ISMRMRD images"
        hint = f"reconstruct a raw scan first: cinerecon recon {path.name}"
        raise DataError(what, where=str(path), hint=hint)
    return [slices[number] for number in sorted(slices)]


def map_error(quantity: str, path: Path) -> DataError:
    """The error if a file contains a map instead of images."""
    what = f"this is a map of {quantity}, not a series of images"
    return DataError(what, where=str(path), hint="give the images that were written with it")


def _stream_series(path: Path) -> Iterator[tuple[Array, Heads, str]]:
    """For each series of a stream: pixels ``(images, y, x)`` of the first channel, headers, and first attributes."""
    for images in read_mrd2_images(path) if is_mrd2(path) else read_stream_images(path):
        failed = sorted({int(image.head["slice"]) for image in images if is_error_image(image)})
        if failed:
            what = f"slice {', '.join(map(str, failed))} failed on the server: the stream contains an error image"
            raise DataError(what, where=str(path))
        heads = np.array([image.head for image in images])
        yield np.stack([image.values[0, 0] for image in images]), heads, images[0].attributes


def _file_series(path: Path) -> Iterator[tuple[Array, Heads, str]]:
    """For each series of a file: pixels ``(images, y, x)`` of the first channel, headers, and first attributes."""
    require_hdf5(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            group = _group_of_images(file, path)
            names = [] if group is None else [name for name in group if _is_series(group, name)]
            for name in sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)]):
                series = member(group, name, str(path))
                texts = series.get("attributes", ())
                first = texts[0] if len(texts) else b""
                attributes = first.decode(errors="replace") if isinstance(first, bytes) else str(first)
                yield series["data"][:, 0, 0], series["header"][:], attributes
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise FileError(f"the images cannot be read: {error}", where=str(path)) from None


def _group_of_images(file: h5py.File, path: Path) -> h5py.Group | None:
    """The group that contains the series: ``dataset``, or the only one with images; None if there is none."""
    groups = [
        name for name in file if is_group(file, name) and any(_is_series(file[name], part) for part in file[name])
    ]
    if "dataset" in groups:
        return file["dataset"]
    if len(groups) > 1:
        listed = ", ".join(f"'{name}'" for name in groups[:6])
        raise DataError(f"the file contains images in {len(groups)} groups: {listed}", where=str(path))
    return file[groups[0]] if groups else None


def _is_series(group: h5py.Group, name: str) -> bool:
    """Whether a member of a group is a series of images."""
    return name.startswith("image") and is_group(group, name) and {"data", "header"} <= set(group[name])


def _slices_of(images: Array, heads: Heads) -> dict[int, tuple[Array, Placement]]:
    """The images of a series by slice, sorted by the counter ``phase``."""
    if images.dtype.names:
        images = images["real"] + 1j * images["imag"]
    slices = {}
    for number in np.unique(heads["slice"]):
        of_slice = heads["slice"] == number
        first = heads[of_slice][0]
        has_geometry = all(np.linalg.norm(first[name]) > 0.5 for name in DIRECTIONS)
        geometry = Geometry.of(*(first[name] for name in ("position", *DIRECTIONS))) if has_geometry else None
        width, height = first["field_of_view"][:2] / np.maximum(first["matrix_size"][:2], 1)
        size = (float(height), float(width)) if min(width, height) > 0 else None
        frames = images[of_slice][np.argsort(heads["phase"][of_slice], kind="stable")]
        slices[int(number)] = frames, Placement(geometry, size)
    return slices
