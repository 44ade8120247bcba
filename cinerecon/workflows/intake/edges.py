"""K-space that holds nothing where the file says it was measured: filled with zeros, not with signal."""

import torch
from torch import Tensor

EMPTY = 1e-12
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
    return power > EMPTY * power.mean()


def gap_inside(has_signal: Tensor) -> int | None:
    """The first empty line between lines with signal, of ``(lines,)``; None if what is empty lies at the edges."""
    found = has_signal.nonzero().ravel()
    if found.numel() == 0:
        return None
    inside = ~has_signal[int(found[0]) : int(found[-1])]
    return int(found[0] + inside.nonzero()[0]) if bool(inside.any()) else None
