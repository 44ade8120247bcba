"""Conjugate gradients for independent equations, one for each frame."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class CgSteps:
    """The steps of a run: they determine the polynomial q with which the solution is q(N) b.

    Attributes
    ----------
    lengths, ratios
        Step length, and weight of the previous direction in the next one, ``(*batch, frames, 1, 1)`` for each step.
    """

    lengths: list[Tensor] = field(default_factory=list)
    ratios: list[Tensor] = field(default_factory=list)

    def polynomial(self, frame: int, eigenvalues: Tensor) -> Tensor:
        """Evaluate q at eigenvalues of N, for a frame of a run without batch axes."""
        solution = torch.zeros_like(eigenvalues)
        residual = direction = torch.ones_like(eigenvalues)
        for length, weight in zip(self.lengths, self.ratios, strict=True):
            solution = solution + float(length[frame]) * direction
            residual = residual - float(length[frame]) * eigenvalues * direction
            direction = residual + float(weight[frame]) * direction
        return solution


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    target: Tensor,
    n_steps: int,
    tolerance: float = 0.0,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
    steps: CgSteps | None = None,
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
    steps
        Receives the steps.
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
        ratio = torch.where(previous > goal, power / previous, 0)
        direction = residual + ratio * direction
        if steps is not None:
            steps.lengths.append(length)
            steps.ratios.append(ratio)
        if observe:
            observe(step + 1, solution, before)
        if not (power > goal).any():
            break
    return solution


def inner_by_frame(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each frame, ``(*batch, frames, 1, 1)``."""
    return (a.conj() * b).real.sum((-2, -1), keepdim=True)
