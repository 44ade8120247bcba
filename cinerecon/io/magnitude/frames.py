"""Frames of a magnitude cine that hold no image of their own: empty, cut off, or copies of earlier ones.

Archives fill series up to a common number of frames, and series that were stopped early end in part of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError

LARGEST_CUT = 0.05
"""Share of the rows or columns that may be empty in one frame and not in the others."""


def usable_frames(values: NDArray[Any], where: str) -> tuple[list[int], list[str]]:
    """The frames to keep, and warnings that name the others.

    Empty and incomplete frames are left out at the begin and the end of a series. Copies of earlier frames are left
    out wherever they are.

    Parameters
    ----------
    values
        ``(frames, y, x)``, finite.
    where
        The file and the slice, for errors.

    Raises
    ------
    DataError
        If frames between others are empty or incomplete, or fewer than two are left.
    """
    n_frames = len(values)
    unusable = {"empty": _empty(values), "incomplete": _incomplete(values)}
    kept = [n for n in range(n_frames) if not any(n in numbers for numbers in unusable.values())]
    for what, numbers in unusable.items():
        if inside := [n for n in numbers if kept and kept[0] < n < kept[-1]]:
            hint = "a cine needs an image in every frame: leave them out of the file, or give the others alone"
            raise DataError(f"{name_frames(inside)} of {n_frames}: {what}", where=where, hint=hint)
    unusable["copies of earlier frames"] = copies = _copies(values, kept)
    kept = [n for n in kept if n not in copies]
    if len(kept) < 2:
        counts = ", ".join(f"{len(numbers)} {what}" for what, numbers in unusable.items() if numbers)
        what = f"a cine needs several frames: of {n_frames}, {counts or 'no other is there'}"
        raise DataError(what, where=where)
    return kept, [f"{name_frames(n)} of {n_frames} left out: {what}" for what, n in unusable.items() if n]


def without_missing_frames(values: NDArray[Any]) -> NDArray[Any]:
    """Frames ``(frames, y, x)`` without a finite pixel are as empty as those of zeros, and become zero."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values
    is_missing = ~np.isfinite(values).any((1, 2))
    return np.where(is_missing[:, None, None], 0, values)


def require_images(values: NDArray[Any], where: str) -> None:
    """Check that every frame ``(frames, y, x)`` holds an image, where none can be left out.

    Raises
    ------
    DataError
        Naming the empty and incomplete frames.
    """
    for what, numbers in (("empty", _empty(values)), ("incomplete", _incomplete(values))):
        if numbers:
            raise DataError(f"{name_frames(numbers)} of {len(values)}: {what}", where=where)


def name_frames(numbers: Sequence[int]) -> str:
    """Frames in words, neighbours as a range: ``frames 0, 8 to 11``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return f"frame{'s' * (len(numbers) > 1)} " + ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def _empty(values: NDArray[Any]) -> list[int]:
    """Frames whose pixels are all equal, zero or another value that fills a series up."""
    return np.flatnonzero(np.ptp(values, axis=(1, 2)) == 0).tolist()


def _incomplete(values: NDArray[Any]) -> list[int]:
    """Frames with rows or columns of zeros that hold signal in most of the frames that are not empty."""
    shown = np.flatnonzero(values.any((1, 2)))
    cut = np.zeros(len(shown), bool)
    for axis in (1, 2):
        is_zero = ~values[shown].any(axis)
        missing = (is_zero & (is_zero.mean(0) < 0.5)).sum(1)
        cut |= missing > max(LARGEST_CUT * is_zero.shape[1], 1)
    return shown[cut].tolist()


def _copies(values: NDArray[Any], kept: Sequence[int]) -> list[int]:
    """Those of some frames that equal an earlier one, pixel by pixel: two measured images never do."""
    first = {values[n].tobytes(): n for n in reversed(kept)}
    return [n for n in kept if first[values[n].tobytes()] != n]
