"""Frames of a magnitude cine that hold no image of their own: empty, cut off, or copies of earlier ones.

Archives fill series up to a common number of frames, and series that were stopped early end in part of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError
from cinerecon.frames import choose_frames, name_frames

LARGEST_CUT = 0.05
"""Share of the rows or columns that may be empty in one frame and not in the others."""


def usable_frames(values: NDArray[Any], where: str) -> tuple[list[int], list[str]]:
    """The frames ``(frames, y, x)`` that hold an image of their own, and warnings that name the others.

    Raises
    ------
    DataError
        If frames between others are empty or incomplete, or fewer than two are left.
    """
    missing = {"empty": _empty(values), "incomplete": _incomplete(values)}
    candidates = [n for n in range(len(values)) if not any(n in numbers for numbers in missing.values())]
    return choose_frames(len(values), missing, {"copies of earlier frames": _copies(values, candidates)}, where)


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
    result: list[int] = shown[cut].tolist()
    return result


def _copies(values: NDArray[Any], kept: Sequence[int]) -> list[int]:
    """Those of some frames that equal an earlier one, pixel by pixel: two measured images never do.

    Simulations without noise whose motion is a cosine in time are left as they are: their frame n equals frame -n.
    """
    is_static = bool((values == values[:1]).all())
    if not is_static and bool((values[1:] == values[:0:-1]).all()):
        return []
    first = {values[n].tobytes(): n for n in reversed(kept)}
    return [n for n in kept if first[values[n].tobytes()] != n]
