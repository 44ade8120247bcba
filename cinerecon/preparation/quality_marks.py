"""Marks of cases that are easier to reconstruct than measured data, detected in the data themselves."""

import torch
from torch import Tensor

from cinerecon.acquisition.checks.measured import lines_with_signal
from cinerecon.cine import CineData
from cinerecon.errors import UnsupportedError
from cinerecon.io.case import MARKS
from cinerecon.physics.fourier import ifft2c
from cinerecon.physics.sampling import block_of_lines

LESS_REALISTIC = ("magnitude only", "zero-padded", "interpolated")
"""Marks of data that are easier to reconstruct than measured data."""
CUTOFF_RATIO = 1e-3
"""Power outside the edge of an interpolated k-space relative to that inside; measured k-space ends in noise or
decays."""
SMALLEST_PHASE = 1e-3
"""Ratio of the imaginary part of an image to the image; coils, fields and noise cause more in measured images."""
BAND_WIDTH = 4
"""Number of lines inside the edge whose power is compared."""


def find_marks(data: CineData) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Marks of a slice as it was read, and warnings with numbers.

    ``zero-padded``: k-space is empty, or was not measured, at its edges. ``interpolated``: its power falls
    abruptly before the edge, as in images that were zero-filled and then processed. ``magnitude only``: the images
    of all coils are real.
    """
    marks, warnings = [], []
    if block_of_lines(data.mask) is not None:
        measured = float(_measured(data).float().mean())
        if measured < 1:
            marks.append("zero-padded")
            warnings.append(f"only {measured:.0%} of k-space was measured, the reference is zero in the rest")
        elif _is_zero_padded(data.kspace):
            marks.append("interpolated")
            warnings.append(MARKS["interpolated"])
        if _is_real(data.kspace):
            marks.append("magnitude only")
            warnings.append(MARKS["magnitude only"])
    return tuple(marks), tuple(warnings)


def refuse_unrealistic(marks: tuple[str, ...], where: str) -> None:
    """Refuse a case that is easier to reconstruct than measured data.

    Raises
    ------
    UnsupportedError
        If there are such marks; the error lists them.
    """
    unrealistic = [mark for mark in marks if mark in LESS_REALISTIC]
    if unrealistic:
        what = "; ".join(f"{mark}: {MARKS[mark]}" for mark in unrealistic)
        raise UnsupportedError(what, where=where, hint="without --strict it is prepared, and marked")


def _measured(data: CineData) -> Tensor:
    """Points ``(ky, kx)`` that were measured, i.e. are in the mask and not empty, bool."""
    rows, columns = lines_with_signal(data.kspace)
    return data.mask[0, 0] & rows[:, None] & columns


def _is_real(kspace: Tensor) -> bool:
    """Whether the images of all coils have no phase, in the first frame of ``(frames, coils, ky, kx)``."""
    image = ifft2c(kspace[:1])
    return float(torch.linalg.vector_norm(image.imag)) < SMALLEST_PHASE * float(torch.linalg.vector_norm(image))


def _is_zero_padded(kspace: Tensor) -> bool:
    power = torch.view_as_real(kspace).square().sum((0, 1, 4)).double()
    return any(_has_cutoff(power.sum(axis)) for axis in (0, 1))


def _has_cutoff(power: Tensor) -> bool:
    """Whether the power of lines, ``(n,)``, falls by orders of magnitude from one radius to the next."""
    n = len(power)
    radius = (torch.arange(n) - n // 2).abs()
    for edge in range(n // 4, n // 2 - 1):
        outside, before = power[radius > edge], power[(radius <= edge) & (radius > edge - BAND_WIDTH)]
        if float(outside.max()) < CUTOFF_RATIO * float(before.mean()):
            return True
    return False
