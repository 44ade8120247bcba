"""Conjugate gradients for independent equations, one for each frame."""

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    target: Tensor,
    n_steps: int,
    tolerance: float = 0.0,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Solve N x = b, with separate step sizes and convergence for each frame.

    Parameters
    ----------
    normal
        Applies N, Hermitian and positive, to each frame of ``(*batch, frames, y, x)``.
    target
        b, ``(*batch, frames, y, x)``.
    n_steps
        Most steps.
    tolerance
        A frame has converged once its residual is this fraction of b, or a rounding error.
    observe
        Called after each step with its count, the solution, and the one before.
    """
    solution, residual, direction = torch.zeros_like(target), target, target
    power = inner_by_frame(residual, residual)
    goal = max(tolerance, torch.finfo(power.dtype).eps) ** 2 * power
    for step in range(n_steps):
        image = normal(direction)
        # A converged frame is not changed any more, so that its solution does not depend on the other frames.
        length = torch.where(power > goal, power / inner_by_frame(direction, image), 0)
        before, solution = solution, solution + length * direction
        residual = residual - length * image
        power, previous = inner_by_frame(residual, residual), power
        direction = residual + torch.where(previous > goal, power / previous, 0) * direction
        if observe:
            observe(step + 1, solution, before)
        if not (power > goal).any():
            break
    return solution


def inner_by_frame(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each frame, ``(*batch, frames, 1, 1)``."""
    return (a.conj() * b).real.sum((-2, -1), keepdim=True)
