"""Reader of images in ISMRMRD files (HDF5) and in streams of MRD version 1 and 2."""

import re
from collections.abc import Iterator, Sequence
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
from cinerecon.io.mrd_stream.images import is_error_image, read_stream_images
from cinerecon.io.plausibility import are_orthonormal
from cinerecon.io.recognise import is_mrd2, is_mrd_stream, open_unlocked
from cinerecon.words import counted

Array = NDArray[Any]
Heads = NDArray[np.void]

DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")
PLACE = ("position", *DIRECTIONS)
COUNTERS = ("phase", "repetition", "average", "set", "contrast")
TIME_COUNTERS = COUNTERS[:3]
"""Counters that may number the frames of a slice; sets and contrasts are different images of one time."""
FIELDS = ("image_type", "slice", "matrix_size", "field_of_view", "image_index", *PLACE, *COUNTERS)
"""Fields of an image header that are read."""
VALUE = re.compile(r"<value>([^<]*)</value>")
"""A value in the meta attributes of an image."""
ROLE = re.compile(r"<name>\s*(?:\w+_)?DataRole\s*</name>((?:\s*<value>[^<]*</value>)+)")
"""The roles of an image in its meta attributes; Gadgetron adds a prefix to the name."""
OTHER_ROLE = re.compile(r"(?i)g-?factor|snr|std|map|mask|phase|quantitative|aif|gd|curve|other")
"""Roles of maps, curves and phase images, which have the type of magnitude images."""
NOT_SHOWN = (2, 3, 4, 6)
"""Types of ISMRMRD images that are ignored: phase, real part, imaginary part, colour."""
SAME_POSITION_MM, SAME_DIRECTION = 0.1, 0.01
"""Differences of position [mm] and of unit vectors up to which images show the same slice."""
SAME_IMAGES = 1e-4
"""Largest relative error power between two series that contain the same images, e.g. with another scale."""


@dataclass(frozen=True)
class Placement:
    """Position and pixel size of a slice, whether it is a real-time series, and warnings about its images.

    Attributes
    ----------
    geometry
        Position and orientation; None if unknown.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm]; None if unknown.
    is_real_time
        Whether the frames are known not to be one heartbeat.
    warnings
        Warnings of the reader about the slice.
    """

    geometry: Geometry | None = None
    pixel_size_mm: tuple[float, float] | None = None
    is_real_time: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Series:
    """The magnitude or complex images of a series: its name, pixels ``(images, y, x)`` and headers."""

    name: str
    values: Array
    heads: Heads


def read_mrd_images(path: Path) -> list[tuple[Array, Placement]]:
    """Read the slices, ``(frames, y, x)`` each, with their placement.

    Phase, real, imaginary and colour images and the maps of other programs are ignored. A slice may be in several
    series if these contain the same images, e.g. as magnitudes and as complex numbers, which are then returned.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If it contains no magnitude or complex images, a map, or images of single coils, the images of a slice are not
        one series in time, or several series of a slice differ.
    """
    is_stream = is_mrd2(path) or is_mrd_stream(path)
    slices: dict[tuple[int, int], tuple[str, Array, Placement]] = {}
    is_empty = True
    for series in _stream_series(path) if is_stream else _file_series(path):
        is_empty = False
        for key, (values, placement) in _slices_of(series, path).items():
            name, known, _ = slices.get(key, (series.name, values, placement))
            if not _are_same(known, values):
                what = f"{name} and {series.name} contain different images of slice {key[0]}"
                raise DataError(what, where=str(path), hint="give a file with one of these series")
            if key not in slices or _precision(values) >= _precision(known):
                slices[key] = series.name, values, placement
    if not slices and not is_empty:
        what = "there are only phase, real, imaginary or colour images or maps, no magnitude or complex images"
        raise DataError(what, where=str(path))
    if not slices:
        what = "the stream contains no images" if is_stream else "the file contains no ISMRMRD images"
        hint = f"reconstruct a raw scan first: cinerecon recon {path.name}"
        raise DataError(what, where=str(path), hint=hint)
    return [slices[key][1:] for key in sorted(slices)]


def map_error(quantity: str, path: Path) -> DataError:
    """The error if a file contains a map instead of images."""
    what = f"this is a map of {quantity}, not a series of images"
    return DataError(what, where=str(path), hint="give the images that were written with it")


def _stream_series(path: Path) -> Iterator[_Series]:
    """The series of a stream."""
    for images in read_mrd2_images(path) if is_mrd2(path) else read_stream_images(path):
        failed = sorted({int(image.head["slice"]) for image in images if is_error_image(image)})
        if failed:
            what = f"slice {', '.join(map(str, failed))} failed on the server: the stream contains an error image"
            raise DataError(what, where=str(path))
        heads = np.array([image.head for image in images])
        name = f"series {int(heads['image_series_index'][0])}"
        is_shown = _are_shown(heads, [image.attributes for image in images], path)
        shown = [image for image, shows in zip(images, is_shown, strict=True) if shows]
        for image in shown[:1]:
            _require_plane(image.values.shape, name, path)
        planes = [image.values[0, 0] for image in shown]
        yield _Series(name, np.stack(planes) if planes else np.empty((0, 0, 0)), heads[is_shown])


def _file_series(path: Path) -> Iterator[_Series]:
    """The series of a file."""
    require_hdf5(path)
    try:
        with open_unlocked(path) as file:
            group = _group_of_images(file, path)
            names = [] if group is None else [name for name in group if _is_series(group, name)]
            for name in sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)]):
                yield _series_in(member(group, name, str(path)), name, path)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise FileError(f"the images cannot be read: {error}", where=str(path)) from None


def _series_in(group: h5py.Group, name: str, path: Path) -> _Series:
    """The series in a group of a file."""
    data, heads = group["data"], group["header"][:]
    missing = [field for field in FIELDS if field not in (heads.dtype.names or ())]
    if missing or data.ndim != 5 or len(data) != len(heads):
        what = f"the header has no {missing[0]}" if missing else f"data {data.shape} and {len(heads)} headers"
        raise FileError(f"{name} is not a series of ISMRMRD images: {what}", where=str(path))
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in _attributes(group)]
    is_shown = _are_shown(heads, [*texts, *[""] * (len(heads) - len(texts))], path)
    if not is_shown.any():
        return _Series(name, np.empty((0, 0, 0)), heads[:0])
    _require_plane(data.shape[1:], name, path)
    values = data[:, 0, 0]
    return _Series(name, values if is_shown.all() else values[is_shown], heads[is_shown])


def _attributes(group: h5py.Group) -> Sequence[Any]:
    """The meta attributes of the images of a series, if there are any."""
    texts: Sequence[Any] = group["attributes"][:].ravel() if "attributes" in group else ()
    return texts


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


def _are_shown(heads: Heads, attributes: Sequence[str], path: Path) -> NDArray[np.bool_]:
    """Which images are magnitude or complex images by their type and role.

    Raises
    ------
    DataError
        If the images are a map of this package.
    """
    for text in dict.fromkeys(attributes):
        if quantity := map_in_remarks(VALUE.findall(text)):
            raise map_error(quantity, path)
    has_role = {text: any(map(_is_other_role, ROLE.findall(text))) for text in set(attributes)}
    is_other = np.array([has_role[text] for text in attributes], bool)
    shown: NDArray[np.bool_] = ~np.isin(heads["image_type"], NOT_SHOWN) & ~is_other
    return shown


def _is_other_role(values: str) -> bool:
    """Whether an image is a map or a curve by its roles, which are values of meta attributes."""
    return any(OTHER_ROLE.search(role) for role in VALUE.findall(values))


def _require_plane(shape: tuple[int, ...], name: str, path: Path) -> None:
    """Refuse images ``(channels, z, y, x)`` of several coils or partitions."""
    n_channels, n_partitions = shape[:2]
    if n_channels != 1:
        what, hint = f"the images of {name} have {n_channels} channels", "combine the coils"
        raise DataError(what, where=str(path), hint=hint)
    if n_partitions != 1:
        what, hint = f"the images of {name} have {n_partitions} partitions", "write each partition as a slice"
        raise DataError(what, where=str(path), hint=hint)


def _slices_of(series: _Series, path: Path) -> dict[tuple[int, int], tuple[Array, Placement]]:
    """The images of a series by slice and by position, since some programs do not count slices."""
    images, heads = series.values, series.heads
    if images.dtype.names:
        images = images["real"] + 1j * images["imag"]
    slices = {}
    for number in np.unique(heads["slice"]).tolist():
        for part, own in enumerate(_by_position(heads, np.flatnonzero(heads["slice"] == number))):
            own = own[_temporal_order(heads[own], f"{path}, {series.name}, slice {number}")]
            slices[number, part] = images[own], _placement(heads[own[0]], images.shape[1:], path)
    return slices


def _by_position(heads: Heads, numbers: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Divide images, given by their numbers, by position and orientation, in the order of their first images."""
    limits = (SAME_POSITION_MM, *(SAME_DIRECTION,) * len(DIRECTIONS))
    places = np.concatenate([heads[name] / limit for name, limit in zip(PLACE, limits, strict=True)], axis=1)
    places = np.nan_to_num(places)
    while len(numbers):
        is_same = np.abs(places[numbers] - places[numbers[0]]).max(1) <= 1
        yield numbers[is_same]
        numbers = numbers[~is_same]


def _temporal_order(heads: Heads, where: str) -> NDArray[np.intp]:
    """The temporal order of the images of a slice: by the first counter that numbers them, or as in the file.

    Raises
    ------
    DataError
        If the images are not one series in time.
    """
    counts = {name: len(np.unique(heads[name])) for name in COUNTERS}
    for name in TIME_COUNTERS:
        if counts[name] == len(heads):
            return np.argsort(heads[name])
    if max(counts.values()) > 1:
        values = ", ".join(f"{n} of {name}" for name, n in counts.items() if n > 1)
        what = (
            f"{counted(len(heads), 'image')} of one slice are not one series in time: values of counters are {values}"
        )
        raise DataError(what, where=where, hint="give a file with one image per frame")
    index = heads["image_index"]
    return np.argsort(index) if len(np.unique(index)) == len(index) else np.arange(len(heads))


def _placement(head: np.void, matrix: tuple[int, ...], path: Path) -> Placement:
    """Position and pixel size of a slice with a given matrix (y, x), from the header of its first image.

    Raises
    ------
    DataError
        If x and y are exchanged in the header.
    """
    y, x = matrix
    declared = tuple(map(int, head["matrix_size"][:2]))
    if x != y and declared == (y, x):
        what = f"images are {x} x {y} pixels (x, y), but {y} x {x} in the header: x and y are exchanged in one of them"
        raise DataError(what, where=str(path), hint="exchange the axes of the data or the sizes in the header")
    is_known = (
        are_orthonormal(np.array([head[name] for name in DIRECTIONS], float)) and np.isfinite(head["position"]).all()
    )
    geometry = Geometry.of(*(head[name] for name in PLACE)) if is_known else None
    width, height = (float(size) for size in head["field_of_view"][:2])
    size = (height / y, width / x) if min(width, height) > 0 else None
    return Placement(geometry, size)


def _precision(values: Array) -> int:
    """2 for complex numbers, 1 for other floating-point numbers, 0 for integers."""
    return {"c": 2, "f": 1}.get(values.dtype.kind, 0)


def _are_same(first: Array, second: Array) -> bool:
    """Whether two series contain the same magnitudes except for a factor."""
    if first is second or first.shape != second.shape:
        return first is second
    a, b = (np.abs(values.astype(np.complex64)).astype(np.float64).ravel() for values in (first, second))
    powers = float(a @ a) * float(b @ b)
    return powers == 0 or 1 - float(a @ b) ** 2 / powers <= SAME_IMAGES
