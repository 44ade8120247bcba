"""Magnitude cines in a form common to all file formats; slices are read one at a time.

Frames without an image are omitted: in some archives, series are padded to a common number of frames, and series that
were stopped early end with an incomplete image.

Segmentations, which many archives store next to the images and in the same formats, are recognised by their pixels.
They have few labels, and almost all adjacent pixels have the same label. Because of noise and shading, fewer than half
of the adjacent pixels of an image are equal, even with 8 bits. Segmentations that were interpolated to another matrix
have many values along the contours, and probabilities have any value between 0 and 1; if the name of the file indicates
a segmentation, large areas of equal values are therefore sufficient.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, NotACineError
from cinerecon.io.plausibility import choose_frames, intensity_warnings
from cinerecon.words import name_frames

MAX_EMPTY_FRACTION = 0.05
"""Largest fraction of rows or columns of a frame that may be empty although they are not in other frames."""
LABEL_NAME = re.compile(
    r"(^|[^a-z])(gt|ground_?truth|seg(s|mentations?|mented)?|labels?|lbl|masks?|rois?|contours?|annotations?|ann)([^a-z]|$)"
)
"""Words in file names that indicate a segmentation."""
MAX_LABEL_VALUES = 8
"""Number of distinct values up to which pixels are always considered labels."""
MAX_SEGMENTATION_VALUES = 64
"""Largest number of distinct values of a segmentation of the heart and its surroundings."""
MIN_EQUAL_FRACTION = 0.7
"""Smallest fraction of pairs of adjacent non-zero pixels with equal values in a segmentation."""
MIN_EQUAL_FRACTION_BY_NAME = 0.4
"""The same if the name of the file indicates a segmentation."""
Magnitude = NDArray[np.float32]
LARGEST_TESLA = 30.0
"""Field strengths above this value are in gauss, as in files from older scanners [T]."""


def usable_frames(values: NDArray[Any], where: str) -> tuple[list[int], list[str]]:
    """Numbers of the frames ``(frames, y, x)`` that contain an image, and warnings about the others.

    Frames that are copies of earlier ones are also excluded.

    Raises
    ------
    DataError
        If frames between others are empty or incomplete, or fewer than two remain.
    """
    missing = {"empty": _empty(values), "incomplete": _incomplete(values)}
    candidates = [n for n in range(len(values)) if not any(n in numbers for numbers in missing.values())]
    return choose_frames(len(values), missing, {"copies of earlier frames": _copies(values, candidates)}, where)


def without_missing_frames(values: NDArray[Any]) -> NDArray[Any]:
    """Set frames ``(frames, y, x)`` without any finite pixel to zero, so that they count as empty."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values
    is_missing = ~np.isfinite(values).any((1, 2))
    return np.where(is_missing[:, None, None], 0, values)


def require_images(values: NDArray[Any], where: str) -> None:
    """Check that every frame ``(frames, y, x)`` contains an image, if none may be omitted.

    Raises
    ------
    DataError
        If frames are empty or incomplete; the error lists them.
    """
    for what, numbers in (("empty", _empty(values)), ("incomplete", _incomplete(values))):
        if numbers:
            raise DataError(f"{name_frames(numbers)} of {len(values)}: {what}", where=where)


def _empty(values: NDArray[Any]) -> list[int]:
    """Frames whose pixels are all equal, e.g. padding."""
    return np.flatnonzero(np.ptp(values, axis=(1, 2)) == 0).tolist()


def _incomplete(values: NDArray[Any]) -> list[int]:
    """Frames with empty rows or columns that have signal in most of the other frames."""
    filled = np.flatnonzero(values.any((1, 2)))
    if not len(filled):
        return []
    is_incomplete = np.zeros(len(filled), bool)
    for axis in (1, 2):
        is_zero = ~values[filled].any(axis)
        missing = (is_zero & (is_zero.mean(0) < 0.5)).sum(1)
        is_incomplete |= missing > max(MAX_EMPTY_FRACTION * is_zero.shape[1], 1)
    result: list[int] = filled[is_incomplete].tolist()
    return result


def _copies(values: NDArray[Any], frames: Sequence[int]) -> list[int]:
    """Frames that are equal to an earlier one in every pixel, which does not occur in measured images.

    Noise-free simulations with cosine motion, whose frames n and -n are equal, are an exception.
    """
    is_static = bool((values == values[:1]).all())
    if not is_static and bool((values[1:] == values[:0:-1]).all()):
        return []
    first = {values[n].tobytes(): n for n in reversed(frames)}
    return [n for n in frames if first[values[n].tobytes()] != n]


def has_label_name(path: Path) -> bool:
    """Whether the name of a file indicates a segmentation, e.g. ``patient001_frame01_gt.nii.gz``."""
    return LABEL_NAME.search(path.name.lower()) is not None


def is_segmentation(values: NDArray[Any], path: Path) -> bool:
    """Whether pixels are labels.

    Parameters
    ----------
    values
        ``(frames, y, x)``, not all zero.
    path
        The file, whose name is used in ambiguous cases.
    """
    equal = _fraction_of_equal_pairs(values)
    if equal >= MIN_EQUAL_FRACTION_BY_NAME and has_label_name(path):
        return True
    n_values = len(np.unique(values))
    return n_values <= MAX_LABEL_VALUES or (n_values <= MAX_SEGMENTATION_VALUES and equal >= MIN_EQUAL_FRACTION)


def refuse_segmentation(values: NDArray[Any], path: Path) -> None:
    """Refuse a segmentation if an image is expected.

    Raises
    ------
    NotACineError
        If the pixels ``(frames, y, x)`` are labels.
    """
    if values.any() and is_segmentation(values, path):
        what = f"this is a segmentation, not an image: its pixels are labels, {_listed(values)}"
        raise NotACineError(what, kind="segmentations", where=str(path))


def _fraction_of_equal_pairs(values: NDArray[Any]) -> float:
    """Fraction of equal values among pairs of adjacent non-zero pixels along x or y; 0 if there are no pairs."""
    n_pairs = n_equal = 0
    for a, b in ((values[:, 1:], values[:, :-1]), (values[:, :, 1:], values[:, :, :-1])):
        is_pair = (a != 0) & (b != 0)
        n_pairs += int(is_pair.sum())
        n_equal += int((is_pair & (a == b)).sum())
    return n_equal / n_pairs if n_pairs else 0.0


def _listed(values: NDArray[Any]) -> str:
    """The first distinct values as text."""
    distinct = np.unique(values)
    return ", ".join(f"{value:g}" for value in distinct[:MAX_LABEL_VALUES]) + (
        ", ..." if len(distinct) > MAX_LABEL_VALUES else ""
    )


@dataclass(frozen=True, eq=False)
class MagnitudeImages:
    """A magnitude cine of one or more slices.

    Attributes
    ----------
    path
        The file, or the folder of a DICOM series.
    name
        Name that distinguishes it from other cines in the same folder; empty if it is the only one.
    n_slices
        Number of slices.
    subject
        Hash of the patient ID; empty if unknown.
    is_interpolated
        Whether the images are known to have been interpolated to a finer matrix.
    files
        All files from which it is read.
    field_strength_tesla
        Field strength of the scanner [T]; None if unknown.
    licence
        Licence of the images; empty if unknown.
    """

    path: Path
    name: str
    n_slices: int
    subject: str
    is_interpolated: bool
    files: tuple[Path, ...]
    _read: Callable[[int], tuple[NDArray[Any], CineMeta]]
    field_strength_tesla: float | None = None
    licence: str = ""

    def read_slice(self, number: int) -> tuple[Magnitude, CineMeta]:
        """Read one slice, ``(frames, y, x)`` float32 with largest value 1, and its metadata.

        Frames without an image are omitted, with a warning (`usable_frames`).

        Raises
        ------
        FileError
            If the file is damaged.
        DataError
            If pixels are negative, not finite or all zero, frames between others are empty, or the axes of slices and
            frames seem to be exchanged.
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
            raise DataError("pixels are negative: these are not magnitudes", where=where)
        refuse_segmentation(values, self.path)
        frames, warnings = usable_frames(values, where)
        if len(frames) < len(values):
            values, meta = values[frames], _with_frames(meta, frames, warnings)
        meta = replace(meta, warnings=(*meta.warnings, *intensity_warnings(values)))
        return np.clip(values / largest, 0, None).astype(np.float32), meta

    def refuse_segmentation(self) -> None:
        """Refuse a segmentation as `read_slice` does, by the pixels of the central non-empty slice.

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
        """Read one slice, ``(frames, y, x)`` in the units of the file, and its metadata.

        Raises
        ------
        FileError
            If the file is damaged.
        DataError
            If the axes of slices and frames seem to be exchanged.
        """
        return self._read(number)


def _with_frames(meta: CineMeta, frames: Sequence[int], warnings: Sequence[str]) -> CineMeta:
    """The metadata of a selection of frames; times are relative to the first one."""
    times = [meta.frame_times_ms[n] for n in frames] if meta.frame_times_ms else []
    return replace(
        meta,
        frame_times_ms=tuple(time - times[0] for time in times),
        warnings=(*meta.warnings, *warnings),
    )


def cut_out(magnitude: Magnitude, meta: CineMeta, n_frames: int, matrix: tuple[int, int]) -> tuple[Magnitude, CineMeta]:
    """Select evenly distributed frames, crop them to the central pixels, and scale the maximum to 1.

    Frames are not interpolated and keep their times, so that the selection covers the whole heartbeat.

    Raises
    ------
    DataError
        If there are fewer frames or pixels than requested, or the central pixels are all zero.
    """
    for axis, size, required in zip(("frames", "rows", "columns"), magnitude.shape, (n_frames, *matrix), strict=True):
        if size < required:
            hint = "request fewer with --frames, --ky or --kx"
            raise DataError(f"the cine has {size} {axis}, but {required} are requested", where=meta.source, hint=hint)
    chosen = [number * len(magnitude) // n_frames for number in range(n_frames)]
    y, x = (n // 2 - m // 2 for n, m in zip(magnitude.shape[1:], matrix, strict=True))
    cut = magnitude[chosen, y : y + matrix[0], x : x + matrix[1]]
    largest = cut.max()
    if largest <= 0:
        what = f"the central {matrix[0]} x {matrix[1]} pixels are all zero"
        raise DataError(what, where=meta.source, hint="request more with --ky or --kx")
    times = meta.frame_times_ms
    return cut / largest, replace(meta, frame_times_ms=tuple(times[number] for number in chosen) if times else ())


def plausible_tesla(value: float | None) -> float | None:
    """A field strength [T], converted from gauss if necessary; None if it is implausible."""
    tesla = value if value is None or value < LARGEST_TESLA else value / 10_000
    return tesla if tesla is not None and 0 < tesla < LARGEST_TESLA else None


def geometry_of(centre: NDArray[Any], row: NDArray[Any], column: NDArray[Any], patient_position: str = "") -> Geometry:
    """The geometry of a slice from its centre [mm] and its directions along x and y, which need not be unit vectors."""
    read, phase = row / np.linalg.norm(row), column / np.linalg.norm(column)
    return Geometry.of(centre, read, phase, np.cross(read, phase), patient_position)
