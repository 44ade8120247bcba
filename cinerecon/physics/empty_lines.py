"""The lines of k-space that hold signal."""

import torch
from torch import Tensor

EMPTY_LINE_RATIO = 1e-12
"""Power of an empty line over the mean of all lines: noise is orders above, rounding errors of a transform below."""


def lines_with_signal(kspace: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows ``(ky,)`` and columns ``(kx,)`` hold any signal.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    """
    power = torch.view_as_real(kspace).square().sum((0, 1, 4))
    return _above_nothing(power.sum(1)), _above_nothing(power.sum(0))


def _above_nothing(power: Tensor) -> Tensor:
    return power > EMPTY_LINE_RATIO * power.mean()
