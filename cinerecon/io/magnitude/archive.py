"""Magnitude cines in NumPy archives."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, FileError, NotACineError
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of, plausible_tesla
from cinerecon.io.plausibility import with_plausibility_warnings
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
FIELD_STRENGTH = "field_strength_tesla"
"""Name of an optional number; the strings ``subject`` and ``licence`` are also optional."""


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
        arrays = {name: np.asarray(file[name], np.float64) for name in ARRAYS if name not in missing}
        field_tesla = float(file[FIELD_STRENGTH]) if FIELD_STRENGTH in file.files else None
        texts = {name: str(file[name]) for name in ("subject", "person", "licence") if name in file.files}
    if missing:
        what, hint = f"the archive has no array '{missing[0]}'", f"expected {', '.join(ARRAYS)}"
        if "magnitude" in missing:
            raise NotACineError(what, kind="NumPy archives with other arrays", where=str(path), hint=hint)
        raise DataError(what, where=str(path), hint=hint)
    magnitude = arrays["magnitude"]
    arrays["slice_thickness_mm"] = arrays["slice_thickness_mm"].reshape(-1)
    shapes = (magnitude.shape[:3], magnitude.shape[:1], (2,), (1,), (6,), (3,))
    for (name, expected), shape in zip(ARRAYS.items(), shapes, strict=True):
        if arrays[name].shape != shape or magnitude.ndim != 3:
            raise DataError(f"'{name}' is {arrays[name].shape}, expected {expected}", where=str(path))

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        row, column = np.split(arrays["image_orientation_patient"], 2)
        dy, dx = arrays["pixel_spacing_mm"]
        _, y, x = magnitude.shape
        centre = arrays["image_position_patient"] + (x // 2) * dx * row + (y // 2) * dy * column
        times = arrays["trigger_time_ms"]
        meta = CineMeta(
            source=str(path),
            slice=number,
            frame_times_ms=tuple(float(time - times[0]) for time in times),
            pixel_size_mm=(float(dy), float(dx)),
            slice_thickness_mm=float(arrays["slice_thickness_mm"][0]),
            geometry=geometry_of(centre, row, column),
        )
        return magnitude, with_plausibility_warnings(meta, (y, x), "archive")

    subject = hashed_subject(
        texts.get("subject") or texts.get("person", "")
    )  # the second name is that in older archives
    field_strength, licence = plausible_tesla(field_tesla), texts.get("licence", "")
    return MagnitudeImages(path, "", 1, subject, False, (path,), read, field_strength, licence)
