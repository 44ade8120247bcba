"""A small object and smooth coil maps, for the tests of coil maps."""

import torch
from torch import Tensor


def smooth_coils(n_coils: int, n_y: int, n_x: int) -> tuple[Tensor, Tensor]:
    """Maps ``(coils, y, x)`` of unit norm of coils around an ellipse ``(y, x)`` with texture and phase, complex128."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in (n_y, n_x)), indexing="ij")
    angle = 2 * torch.pi * torch.arange(n_coils, dtype=torch.float64)[:, None, None] / n_coils
    distance = (y - 1.3 * angle.sin()) ** 2 + (x - 1.3 * angle.cos()) ** 2 + 0.4
    csm = torch.polar(1 / distance, angle + 0.6 * (x * angle.cos() + y * angle.sin()))
    inside = (y / 0.75) ** 2 + (x / 0.65) ** 2 < 1
    image = torch.polar(inside * (1 + 0.3 * torch.cos(7 * x + 4 * y)), 0.8 * y - 0.5 * x * y)
    return csm / csm.norm(dim=0), image


def agreement(maps: Tensor, expected: Tensor) -> Tensor:
    """Cosine of the angle between two sets of maps, in each pixel ``(..., y, x)``; 1 is perfect."""
    norms = maps.norm(dim=-3) * expected.norm(dim=-3)
    return (maps.conj() * expected).sum(-3).abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)
