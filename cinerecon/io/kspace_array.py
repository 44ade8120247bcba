"""K-space in plain arrays, BART ``.cfl`` and NumPy ``.npy`` and ``.npz``, with axes named by the user or the file.

BART and ``.npy`` files are mapped into memory and read slice by slice. Archives are read at once, after a comparison of
the declared sizes with that of the file.
"""

import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import ConfigError, DataError, FileError, nearest_name
from cinerecon.io.bart import NAMES, cfl_files, holds_cfl_images, open_cfl
from cinerecon.io.hdf5 import LARGEST_RATIO
from cinerecon.io.recognise import is_cfl, names_in_archive
from cinerecon.io.untrusted import open_npy, read_npz, refuse_pipe, reporting_damage
from cinerecon.memory import release_pages

KSPACE_AXES = ("slices", "frames", "coils", "ky", "kx")
"""Names of the axes of k-space, in the order used in this package."""
PARTS = "parts"
"""Name of an axis of length 2 that contains real and imaginary parts."""
SINGLE = "1"
"""Name of an axis of length 1 without meaning."""
KNOWN_AXES = (*KSPACE_AXES, PARTS, SINGLE)
NPZ_KEYS = (
    *("kspace", "axes", "mask", "csm", "pixel_size_mm", "slice_thickness_mm"),
    *("frame_time_ms", "frame_times_ms", "oversampling"),
)
"""Arrays of an archive that are used."""
NUMBERS_AT_ONCE = 2**22
"""Number of samples of a mapped file that are read before its pages are released, 32 MB in single precision."""
EXAMPLE, BART_EXAMPLE = 'e.g. --axes "frames coils ky kx"', 'e.g. --axes "kx ky coils frames"'


@dataclass(frozen=True, eq=False)
class KspaceArray:
    """An open array of k-space.

    Attributes
    ----------
    path, files
        The file, and all files from which the samples are read.
    values
        The array as stored, often mapped into memory.
    axes
        Name of each axis.
    extras
        Other arrays of an archive, by name (`NPZ_KEYS`).
    warnings
        Warnings about the file.
    """

    path: Path
    files: tuple[Path, ...]
    values: NDArray[Any]
    axes: tuple[str, ...]
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def size(self, axis: str) -> int:
        """Length of an axis; 1 if the array does not have it."""
        return int(self.values.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Shape of k-space (slices, frames, coils, ky, kx)."""
        slices, frames, coils, ky, kx = (self.size(axis) for axis in KSPACE_AXES)
        return slices, frames, coils, ky, kx

    def read_slice(self, number: int, frames: slice = slice(None)) -> NDArray[np.complex64]:
        """Read k-space of one slice, or of some of its frames, ``(frames, coils, ky, kx)``.

        Raises
        ------
        DataError
            If a value is not finite in single precision.
        """
        _, n_frames, *shape = self.shape
        chosen = range(n_frames)[frames]
        kspace = np.empty((len(chosen), *shape), np.complex64)
        n_together = max(1, NUMBERS_AT_ONCE // math.prod(shape))
        for start in range(0, len(chosen), n_together):  # limits the memory of temporary arrays and mapped pages
            part, own = kspace[start : start + n_together], chosen[start : start + n_together]
            with np.errstate(over="ignore"):
                part[:] = arrange(self.values, self.axes, number, slice(own.start, own.stop))[0]
            if not np.isfinite(part).all():
                raise DataError("k-space contains values that are not finite", where=f"{self.path}, slice {number}")
            release_pages(self.values)
        return kspace


def arrange(
    values: NDArray[Any], axes: tuple[str, ...], number: int | None = None, frames: slice = slice(None)
) -> NDArray[Any]:
    """Select a slice and frames, combine real and imaginary parts, and permute the axes to `KSPACE_AXES`."""
    parts = {"frames": frames} | ({} if number is None else {"slices": slice(number, number + 1)})
    values = values[tuple(parts.get(axis, slice(None)) for axis in axes)]
    if PARTS in axes:
        real, imaginary = np.moveaxis(values, axes.index(PARTS), 0)
        values, axes = real + 1j * imaginary.astype(np.result_type(imaginary, np.float32)), _without(axes, PARTS)
    values = values.squeeze(tuple(n for n, axis in enumerate(axes) if axis == SINGLE))
    axes = _without(axes, SINGLE)
    present = [axis for axis in KSPACE_AXES if axis in axes]
    values = values.transpose([axes.index(axis) for axis in present])
    return values.reshape([values.shape[present.index(axis)] if axis in present else 1 for axis in KSPACE_AXES])


def _without(axes: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The axes without one of them."""
    return tuple(axis for axis in axes if axis != name)


def holds_kspace(path: Path, *, has_axes: bool = True) -> bool:
    """Whether a file is an archive with an array ``kspace`` and, if ``has_axes``, the names of its ``axes``."""
    names = names_in_archive(path) if path.suffix.lower() == ".npz" else []
    return "kspace.npy" in names and (not has_axes or "axes.npy" in names)


def open_kspace_array(path: Path, axes: str = "", limit_gb: float = math.inf) -> KspaceArray:
    """Open k-space in a plain array; samples are read on demand, except those of an archive.

    Parameters
    ----------
    path
        The file: ``.npy``, ``.npz``, or either file of a BART array.
    axes
        Names of all axes, or of those longer than 1, in the order of the array or of the dimensions of BART. If empty,
        the axes are those named in the archive, or follow from the meaning of BART dimensions.
    limit_gb
        Largest size of an archive in memory [GB].

    Raises
    ------
    FileError
        If the file is missing, damaged, or does not contain k-space.
    ConfigError
        If the axes are not named, or the names do not match the array.
    DataError
        If the samples are not complex numbers.
    """
    where = str(path)
    if is_cfl(path):
        values, files = open_cfl(path), cfl_files(path)
        if holds_cfl_images(path):
            raise DataError("the array contains images written by cinerecon, not k-space", where=where)
        names = (
            parse_axes(axes, values.shape[::-1], where, BART_EXAMPLE)[::-1] if axes else _bart_axes(values.shape, where)
        )
        array = KspaceArray(path, files, values, names)
    elif path.suffix.lower() == ".npy":
        values = open_npy(path)
        array = KspaceArray(path, (path,), values, parse_axes(axes, values.shape, where))
    else:
        array = _open_npz(path, axes, limit_gb)
    _require_samples(array)
    return array


def parse_axes(text: str, shape: tuple[int, ...], where: str, example: str = EXAMPLE) -> tuple[str, ...]:
    """The name of each axis of an array from a string such as ``frames coils ky kx``.

    Raises
    ------
    ConfigError
        If names are missing, unknown or repeated, or their number does not match the array.
    """
    names = text.replace(",", " ").split()
    if not names:
        raise ConfigError(f"the axes of the array {shape} are not named", where=where, hint=example)
    for name in names:
        if name not in KNOWN_AXES:
            raise ConfigError(f"unknown axis '{name}'", where=f"--axes '{text}'", hint=nearest_name(name, KNOWN_AXES))
        if name != SINGLE and names.count(name) > 1:
            raise ConfigError(f"the axis '{name}' is named twice", where=f"--axes '{text}'")
    longer = [n for n, size in enumerate(shape) if size > 1]
    if len(names) == len(longer) < len(shape) and SINGLE not in names:
        by_axis = dict(zip(longer, names, strict=True))
        names = [by_axis.get(n, SINGLE) for n in range(len(shape))]
    if len(names) != len(shape):
        what = f"{len(names)} axes are named, but the array {shape} has {len(shape)}"
        raise ConfigError(what, where=f"{where}, --axes '{text}'", hint=f"name every axis once, {example}")
    wrong = next((n for n, name in enumerate(names) if name == SINGLE and shape[n] != 1), None)
    if wrong is not None:
        what = f"axis {wrong} of the array {shape} has the name '1' and the length {shape[wrong]}"
        raise ConfigError(what, where=f"{where}, --axes '{text}'", hint=f"name it according to its meaning, {example}")
    for name in ("ky", "kx"):
        if name not in names:
            raise ConfigError(f"no axis is named '{name}'", where=f"{where}, --axes '{text}'", hint=example)
    return tuple(names)


def _bart_axes(shape: tuple[int, ...], where: str) -> tuple[str, ...]:
    """The axes of a BART array in the order of ``shape``, which is the reverse of the BART dimensions."""
    names = []
    for dimension, size in enumerate(reversed(shape)):
        name = NAMES.get(dimension, SINGLE)
        if name == SINGLE and size > 1:
            known = ", ".join(f"{number} ({axis})" for number, axis in NAMES.items())
            what = f"dimension {dimension} of the BART array is {size}: only {known} are read"
            hint = f"extract a part with bart slice, or name those longer than 1, {BART_EXAMPLE}"
            raise ConfigError(what, where=where, hint=hint)
        names.append(name)
    return tuple(reversed(names))


def _require_samples(array: KspaceArray) -> None:
    """Check data type and shape of k-space, without reading it."""
    where, dtype = str(array.path), array.values.dtype
    example = BART_EXAMPLE if is_cfl(array.path) else EXAMPLE
    if array.values.size == 0:
        raise DataError(f"the array {array.values.shape} is empty", where=where)
    if PARTS in array.axes:
        if array.size(PARTS) != 2 or dtype.kind not in "iuf":
            what = f"the axis '{PARTS}' has the length {array.size(PARTS)} and numbers of {dtype}, expected 2 real ones"
            raise DataError(what, where=where)
    elif dtype.kind != "c":
        hint = f"if the last axis contains real and imaginary parts, name it '{PARTS}'"
        if dtype.names is not None and len(dtype.names) == 2:
            hint = "kspace = array['{}'] + 1j * array['{}']".format(*dtype.names)
        raise DataError(f"the array contains values of type {dtype}, but k-space is complex", where=where, hint=hint)
    if array.size("frames") < 2:
        raise DataError(
            f"the array {array.values.shape} has one frame, but a cine has several", where=where, hint=example
        )
    if min(array.size("ky"), array.size("kx")) < 2:
        raise DataError(f"k-space is {array.size('ky')} x {array.size('kx')} (ky x kx)", where=where, hint=example)


def _open_npz(path: Path, axes: str, limit_gb: float) -> KspaceArray:
    """Read an archive."""
    _require_size(path, limit_gb)
    arrays = read_npz(path)
    if "kspace" not in arrays:
        listed = ", ".join(f"'{name}'" for name in arrays) or "no arrays"
        hint = f"supported arrays: {', '.join(NPZ_KEYS)}"
        raise FileError(f"the archive contains {listed}, expected 'kspace'", where=str(path), hint=hint)
    values = arrays.pop("kspace")
    if not axes and "axes" in arrays:
        axes = " ".join(np.atleast_1d(arrays["axes"]).astype(str).tolist())
    unread = sorted(set(arrays) - set(NPZ_KEYS))
    warnings = [f"arrays in the file that are not used: {', '.join(unread)}"] if unread else []
    names = parse_axes(axes, values.shape, str(path))
    return KspaceArray(path, (path,), values, names, arrays, tuple(warnings))


def _require_size(path: Path, limit_gb: float) -> None:
    """Check the declared sizes of the arrays in an archive before memory is allocated."""
    refuse_pipe(path)
    with reporting_damage("the archive is damaged", path, "copy it again"), zipfile.ZipFile(path) as archive:
        n_bytes = sum(max(info.file_size, _claimed_bytes(archive, info.filename)) for info in archive.infolist())
    if n_bytes > LARGEST_RATIO * path.stat().st_size:
        what = f"the archive claims {n_bytes / 1e9:.3g} GB, more than a file of {path.stat().st_size} bytes can hold"
        raise DataError(what, where=str(path), hint="copy it again")
    if n_bytes > limit_gb * 1e9:
        what = f"the arrays of the archive take {n_bytes / 1e9:.1f} GB, limit {limit_gb:g} GB"
        hint = "a .npy file is read slice by slice; --set preprocessing.memory_limit_gb=... raises the limit"
        raise DataError(what, where=str(path), hint=hint)


def _claimed_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Size of an array according to its header [bytes]."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    return math.prod(shape) * int(dtype.itemsize)
