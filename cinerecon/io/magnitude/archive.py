"""Magnitude cines in NumPy archives."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, FileError, NotACineError
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of, plausible_tesla
from cinerecon.io.plausibility import UNKNOWN_TIMES, are_orthonormal, thickness_or_default, with_plausibility_warnings
from cinerecon.io.untrusted import refuse_pipe, reporting_damage
from cinerecon.provenance import hashed_subject

ARRAYS = {
    "magnitude": "(frames, rows, columns)",
    "trigger_time_ms": "(frames,)",
    "pixel_spacing_mm": "(2,)",
    "slice_thickness_mm": "one number",
    "image_orientation_patient": "(6,)",
    "image_position_patient": "(3,)",
}
"""Required arrays of an archive, with their shapes."""
REORDERED = "the frames were not in the order of their times, by which they are sorted"
FIELD_STRENGTH = "field_strength_tesla"
"""Name of an optional number; the strings ``subject`` and ``licence`` are also optional."""


def is_magnitude_archive(names: Iterable[str]) -> bool:
    """Whether the names of the arrays in an archive are those of a magnitude cine."""
    return set(ARRAYS) <= set(names)


def open_archive(path: Path) -> MagnitudeImages:
    """Open a NumPy archive with the arrays in `ARRAYS`; times and geometry are defined as in DICOM.

    Raises
    ------
    FileError
        If it is missing or damaged.
    NotACineError
        If it has no array ``magnitude``.
    DataError
        If another array is missing, or one has a wrong shape.
    """
    refuse_pipe(path)
    if not zipfile.is_zipfile(path):
        what = "this is not a NumPy archive" if path.exists() else "there is no such file"
        hint = "measured magnitude cines are read from .npz, NIfTI, or a folder of DICOM" if path.exists() else ""
        raise FileError(f"cannot read the cine: {what}", where=str(path), hint=hint)
    with reporting_damage("cannot read the cine", path), np.load(path, allow_pickle=False) as file:
        missing = [name for name in ARRAYS if name not in file.files]
        stored = {name: file[name] for name in ARRAYS if name not in missing}
        field_tesla = float(file[FIELD_STRENGTH]) if FIELD_STRENGTH in file.files else None
        texts = {name: str(file[name]) for name in ("subject", "person", "licence") if name in file.files}
    if missing:
        what, hint = f"the archive has no array '{missing[0]}'", f"expected {', '.join(ARRAYS)}"
        if "magnitude" in missing:
            raise NotACineError(what, kind="NumPy archives with other arrays", where=str(path), hint=hint)
        raise DataError(what, where=str(path), hint=hint)
    arrays = {name: _real(values, name, path) for name, values in stored.items()}
    magnitude = arrays["magnitude"]
    arrays["slice_thickness_mm"] = arrays["slice_thickness_mm"].reshape(-1)
    shapes = (magnitude.shape[:3], magnitude.shape[:1], (2,), (1,), (6,), (3,))
    for (name, expected), shape in zip(ARRAYS.items(), shapes, strict=True):
        if arrays[name].shape != shape or magnitude.ndim != 3:
            raise DataError(f"'{name}' is {arrays[name].shape}, expected {expected}", where=str(path))

    _require_geometry(arrays, path)
    magnitude, times, warnings = _in_time_order(magnitude, arrays["trigger_time_ms"], path)

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        row, column = np.split(arrays["image_orientation_patient"], 2)
        dy, dx = arrays["pixel_spacing_mm"]
        _, y, x = magnitude.shape
        centre = arrays["image_position_patient"] + (x // 2) * dx * row + (y // 2) * dy * column
        thickness_mm, no_thickness = thickness_or_default(float(arrays["slice_thickness_mm"][0]), "archive")
        meta = CineMeta(
            source=str(path),
            slice=number,
            frame_times_ms=times,
            pixel_size_mm=(float(dy), float(dx)),
            slice_thickness_mm=thickness_mm,
            geometry=geometry_of(centre, row, column),
            warnings=(*warnings, *no_thickness),
        )
        return magnitude, with_plausibility_warnings(meta, (y, x), "archive")

    subject = hashed_subject(
        texts.get("subject") or texts.get("person", "")
    )  # the second name is that in older archives
    field_strength, licence = plausible_tesla(field_tesla), texts.get("licence", "")
    return MagnitudeImages(path, "", 1, subject, False, (path,), read, field_strength, licence)


def _real(values: NDArray[Any], name: str, path: Path) -> NDArray[np.float64]:
    """An array of real numbers.

    Raises
    ------
    DataError
        If it has complex numbers, or no numbers.
    """
    if values.dtype.kind not in "iuf":
        hint = "np.abs(image) is the magnitude of complex images" if values.dtype.kind == "c" else ""
        raise DataError(f"'{name}' is {values.dtype}, expected real numbers", where=str(path), hint=hint)
    return values.astype(np.float64)


def _require_geometry(arrays: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Check that pixel sizes are positive and directions are orthonormal.

    Raises
    ------
    DataError
        If they are not, or a value is not finite.
    """
    sizes = arrays["pixel_spacing_mm"]
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise DataError(
            f"'pixel_spacing_mm' is {sizes.tolist()}", where=str(path), hint="distances of rows and columns"
        )
    if not are_orthonormal(arrays["image_orientation_patient"].reshape(2, 3)):
        hint = "unit vectors along a row and along a column"
        raise DataError("the directions in 'image_orientation_patient' are not orthonormal", where=str(path), hint=hint)
    if not np.isfinite(arrays["image_position_patient"]).all():
        raise DataError("'image_position_patient' is not finite", where=str(path))


def _in_time_order(
    magnitude: NDArray[Any], times_ms: NDArray[np.float64], path: Path
) -> tuple[NDArray[Any], tuple[float, ...], list[str]]:
    """Frames sorted by their times, the times relative to the first, and warnings; times are empty if they are unknown.

    Raises
    ------
    DataError
        If several frames have the same time, or only some times are known.
    """
    if not np.isfinite(times_ms).any() or (len(times_ms) > 1 and np.ptp(times_ms) == 0):
        return magnitude, (), [UNKNOWN_TIMES]
    if not np.isfinite(times_ms).all() or len(np.unique(times_ms)) < len(times_ms):
        what = "'trigger_time_ms' is not finite or has the same value for several frames"
        raise DataError(what, where=str(path), hint="the time of each frame after the R wave")
    order = np.argsort(times_ms)
    times = tuple(float(times_ms[n] - times_ms[order[0]]) for n in order)
    is_sorted = bool((order == np.arange(len(order))).all())
    return (magnitude, times, []) if is_sorted else (magnitude[order], times, [REORDERED])
