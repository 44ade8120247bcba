"""Rate of change of the phase of a complex cine over time and space."""

from typing import NamedTuple

import torch
from torch import Tensor


class PhaseChange(NamedTuple):
    """Mean absolute phase difference of adjacent pixels, weighted by intensity.

    Attributes
    ----------
    per_frame, per_row, per_column
        Between consecutive frames, along y and along x [rad].
    """

    per_frame: float
    per_row: float
    per_column: float


def phase_change(image: Tensor) -> PhaseChange:
    """Mean absolute phase difference between adjacent frames, rows and columns.

    Each pair of adjacent pixels a, b has the weight |a| |b|, so that air and noise contribute little. The difference is
    that of the wrapped phase: a change of sign counts as pi.

    Parameters
    ----------
    image
        ``(frames, y, x)`` complex.
    """
    return PhaseChange(*(_change(image, dim) for dim in (-3, -2, -1)))


def _change(image: Tensor, dim: int) -> float:
    n = image.shape[dim] - 1
    if n < 1:
        return 0.0
    product = image.narrow(dim, 1, n) * image.narrow(dim, 0, n).conj()
    weight = product.abs()
    return float((weight * product.angle().abs()).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny))
