"""Conjugate gradients for independent systems of equations, one for each frame."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


def inner_by_frame(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each frame, ``(*batch, frames, 1, 1)``."""
    return (a.conj() * b).real.sum((-2, -1), keepdim=True)


@dataclass
class CgSteps:
    """The steps of a solution, which determine the polynomial q with the solution q(N) b.

    Attributes
    ----------
    lengths
        Length of each step, ``(*batch, frames, 1, 1)``.
    ratios
        Weight of the previous direction in the direction of each further step, ``(*batch, frames, 1, 1)``.
    """

    lengths: list[Tensor] = field(default_factory=list)
    ratios: list[Tensor] = field(default_factory=list)

    def polynomial(self, frame: int, eigenvalues: Tensor) -> Tensor:
        """Evaluate q at eigenvalues of N, for a frame of a run without batch axes."""
        solution = torch.zeros_like(eigenvalues)
        residual = direction = torch.ones_like(eigenvalues)
        for step, length in enumerate(self.lengths):
            if step:
                direction = residual + float(self.ratios[step - 1][frame]) * direction
            solution = solution + float(length[frame]) * direction
            residual = residual - float(length[frame]) * eigenvalues * direction
        return solution


def conjugate_gradients(
    normal: Callable[[Tensor], Tensor],
    target: Tensor,
    n_steps: int,
    tolerance: float | None = 0.0,
    *,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
    steps: CgSteps | None = None,
    inner: Callable[[Tensor, Tensor], Tensor] = inner_by_frame,
    curvature: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Solve N x = b with separate step sizes and convergence for each frame; the solution is differentiable.

    Parameters
    ----------
    normal
        Applies N, Hermitian and positive, to each frame of ``(*batch, frames, y, x)``.
    target
        b, ``(*batch, frames, y, x)``.
    n_steps
        Largest number of steps.
    tolerance
        A frame has converged if its residual is below this fraction of b, or is a rounding error. None means that all
        steps are taken.
    observe
        Called after each step with its number, the solution, and the previous solution.
    steps
        Records the steps.
    inner
        Real inner product of each frame.
    curvature
        Computes the inner product of x and N x without N x, which is not needed in the last step.
    """
    tiny = torch.finfo(target.dtype).tiny
    solution, residual, direction, power = torch.zeros_like(target), target, target, inner(target, target)
    goal = 0 if tolerance is None else max(tolerance, torch.finfo(power.dtype).eps) ** 2 * power
    for step in range(1, n_steps + 1):
        if step == n_steps and curvature is not None:
            energy = curvature(direction)
        else:
            image = normal(direction)
            energy = inner(direction, image)
        # A converged frame is not updated further, so that its solution does not depend on the other frames.
        length = torch.where(power > goal, power / energy.clamp(min=tiny), 0)
        before, solution = solution, solution + length * direction
        if steps is not None:
            steps.lengths.append(length)
        if observe:
            observe(step, solution, before)
        if step == n_steps:
            break
        residual = residual - length * image
        power, previous = inner(residual, residual), power
        if not (power > goal).any():
            break
        ratio = torch.where(previous > goal, power / previous.clamp(min=tiny), 0)
        direction = residual + ratio * direction
        if steps is not None:
            steps.ratios.append(ratio)
    return solution
