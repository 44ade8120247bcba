"""Complex numbers of unit magnitude."""

import torch
from torch import Tensor


def phasor(angle: Tensor) -> Tensor:
    """The numbers exp(i angle) of angles [rad]."""
    return torch.polar(torch.ones_like(angle), angle)


def phasor_of(values: Tensor) -> Tensor:
    """Complex values over their magnitude; 1 where they are 0."""
    return torch.where(values == 0, 1, torch.sgn(values))
