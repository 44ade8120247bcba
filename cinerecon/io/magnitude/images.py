"""A magnitude cine from a file of any format, whose slices are read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta, Geometry, vector
from cinerecon.errors import DataError
from cinerecon.io.magnitude.frames import usable_frames, without_missing_frames
from cinerecon.io.magnitude.segmentation import refuse_segmentation

Magnitude = NDArray[np.float32]
LARGEST_TESLA = 30.0
"""Above this, a field strength is given in gauss, as older scanners do."""


@dataclass(frozen=True, eq=False)
class MagnitudeImages:
    """A magnitude cine of one or more slices.

    Attributes
    ----------
    path
        The file, or the folder of a DICOM series.
    name
        Name that distinguishes it from others in the same folder; empty if it is the only one.
    n_slices
        Number of slices.
    subject
        A hash of the patient's number, empty if unknown.
    is_interpolated
        Whether the images are known to have a finer matrix than was measured.
    files
        All files it is read from.
    field_strength_tesla
        Field strength of the scanner [T]; None if unknown.
    """

    path: Path
    name: str
    n_slices: int
    subject: str
    is_interpolated: bool
    files: tuple[Path, ...]
    _read: Callable[[int], tuple[NDArray[Any], CineMeta]]
    field_strength_tesla: float | None = None

    def read_slice(self, number: int) -> tuple[Magnitude, CineMeta]:
        """Read one slice: ``(frames, y, x)`` float32, largest value 1, and its place and times.

        Frames without an image of their own are left out, with a warning (`usable_frames`).

        Raises
        ------
        FileError
            If the file is damaged.
        DataError
            If pixels are negative, not finite, or all zero, or frames between others are empty.
        NotACineError
            If the pixels are the labels of a segmentation.
        """
        values, meta = self.read_pixels(number)
        values = without_missing_frames(values)
        where = f"{self.path}, slice {number}"
        if not np.isfinite(values).all():
            raise DataError("pixels are not finite", where=where)
        largest = float(values.max(initial=0))
        if largest <= 0:
            raise DataError("all pixels are zero", where=where)
        if float(values.min()) < -0.01 * largest:
            raise DataError("pixels are negative: these are no magnitudes", where=where)
        refuse_segmentation(values, self.path)
        kept, warnings = usable_frames(values, where)
        if len(kept) < len(values):
            values, meta = values[kept], _with_frames(meta, kept, warnings)
        return np.clip(values / largest, 0, None).astype(np.float32), meta

    def refuse_segmentation(self) -> None:
        """Refuse labels, as `read_slice` does, by the slice nearest to the middle that is not empty.

        Raises
        ------
        FileError
            If the file is damaged.
        NotACineError
            If the pixels are the labels of a segmentation.
        """
        for number in sorted(range(self.n_slices), key=lambda n: abs(n - self.n_slices // 2)):
            values, _ = self.read_pixels(number)
            if values.any():
                refuse_segmentation(values, self.path)
                return

    def read_pixels(self, number: int) -> tuple[NDArray[Any], CineMeta]:
        """Read one slice: ``(frames, y, x)`` in the units of the file, and its place and times.

        Raises
        ------
        FileError
            If the file is damaged.
        """
        return self._read(number)


def _with_frames(meta: CineMeta, kept: Sequence[int], warnings: Sequence[str]) -> CineMeta:
    """The metadata of some of the frames: their times begin with the first."""
    times = [meta.frame_times_ms[n] for n in kept] if meta.frame_times_ms else []
    return replace(
        meta,
        frame_times_ms=tuple(time - times[0] for time in times),
        warnings=(*meta.warnings, *warnings),
    )


def cut_out(magnitude: Magnitude, meta: CineMeta, n_frames: int, matrix: tuple[int, int]) -> tuple[Magnitude, CineMeta]:
    """Frames spread evenly over a cine, cut out around its centre, the largest value 1 again.

    No frame is interpolated, and the times stay those of the frames: fewer frames still cover the whole heart beat.

    Raises
    ------
    DataError
        If there are fewer frames or pixels than requested, or those around the centre are all zero.
    """
    for axis, found, wanted in zip(("frames", "rows", "columns"), magnitude.shape, (n_frames, *matrix), strict=True):
        if found < wanted:
            hint = "ask for fewer with --frames, --ky or --kx"
            raise DataError(f"the cine has {found} {axis}, {wanted} are requested", where=meta.source, hint=hint)
    chosen = [number * len(magnitude) // n_frames for number in range(n_frames)]
    y, x = (n // 2 - m // 2 for n, m in zip(magnitude.shape[1:], matrix, strict=True))
    cut = magnitude[chosen, y : y + matrix[0], x : x + matrix[1]]
    largest = cut.max()
    if largest <= 0:
        what = f"the central {matrix[0]} x {matrix[1]} pixels are zero and cannot be scanned"
        raise DataError(what, where=meta.source, hint="ask for more with --ky or --kx")
    times = meta.frame_times_ms
    return cut / largest, replace(meta, frame_times_ms=tuple(times[number] for number in chosen) if times else ())


def plausible_tesla(value: float | None) -> float | None:
    """A field strength in tesla, also where it was written in gauss; None where it is none of a scanner for humans."""
    tesla = value if value is None or value < LARGEST_TESLA else value / 10_000
    return tesla if tesla is not None and 0 < tesla < LARGEST_TESLA else None


def geometry_of(centre: NDArray[Any], row: NDArray[Any], column: NDArray[Any], patient_position: str = "") -> Geometry:
    """The place of a slice from its centre and the directions along x and along y, which need no unit length."""
    read, phase = row / np.linalg.norm(row), column / np.linalg.norm(column)
    return Geometry(vector(centre), vector(read), vector(phase), vector(np.cross(read, phase)), patient_position)
