"""ADMM for a series under penalties: one solver for k-t SLR, locally low rank and total variation.

Minimises 1/2 ||A u - y||^2 + sum_k g_k(K_k u). Each K_k u is split off as z_k; in turn

    z_k = prox(K_k u + v_k),      v_k = v_k + K_k u - z_k,
    u = argmin 1/2 ||A u - y||^2 + sum_k rho_k/2 ||K_k u - z_k + v_k||^2.

Data are scaled so that the view-shared image, from which it starts, has a peak of 1: all weights are free of units.

It stops once the image changes by less than `tolerance` of itself, or after `n_iterations`. For convex penalties the
cost falls steadily after the first iterations, and to the minimum. Blocks placed at random minimise the mean of the
costs of all tilings, one of which is recorded: it falls, then varies by a few percent, as the iterates scatter
around their mean. That mean is the image; its changes end between 1e-3 and 6e-3, and `n_iterations` ends the run.
"""

from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import (
    ClassicalMethod,
    Convergence,
    Progress,
    make_encoding,
    reconstruct_each,
    view_shared_image,
)
from cinerecon.methods.classical.admm.differences import Coupling
from cinerecon.methods.classical.admm.image_update import choose_image_update
from cinerecon.methods.classical.config import SolverConfig
from cinerecon.physics.operators import Encoding

PROXIMAL_WEIGHT = 1e-4
"""Weight of ||u - u_previous||^2 where no penalty depends on u itself: undetermined components stay unchanged."""


class Penalty(Protocol):
    """A penalty g(K u). It stores v and the right side of the image update, rho K^H (z - v)."""

    coupling: Coupling
    right_side: Tensor
    is_random: bool

    def initialise(self, u: Tensor) -> None:
        """Allocate memory for series like u, with v = 0."""
        ...

    def update(self, u: Tensor, progress: float) -> None:
        """Update z and v for a new series; progress is between 0 and 1."""
        ...

    def cost(self, u: Tensor) -> float:
        """g(K u)."""
        ...


class AdmmMethod(ClassicalMethod):
    """A method that minimises data misfit and penalties, one cine after the other, on the device of the data."""

    config: SolverConfig
    is_iterative = True

    def __init__(self, config: SolverConfig) -> None:
        self.config = config

    @abstractmethod
    def penalties(self, *, is_cyclic: bool = True) -> list[Penalty]:
        """The penalties, for images of peak 1; in a cyclic series the first frame follows the last."""

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """See `ClassicalMethod.solve`."""
        return reconstruct_each(data, lambda cine, report: self._iterate(cine, report, convergence), progress)

    def _iterate(self, data: CineData, progress: Progress, convergence: Convergence | None) -> Tensor:
        start = view_shared_image(data)
        scale = start.abs().max()
        if scale == 0:
            return start
        penalties = self.penalties(is_cyclic=not data.meta.is_real_time)
        splitting = AdmmIteration(make_encoding(data), data.kspace, start / scale, penalties, self.config, scale)
        for n in range(self.config.n_iterations):
            change = splitting.step((n + 1) / self.config.n_iterations)
            if convergence is not None:
                convergence.add(*splitting.measure(), change)
            progress(n + 1, self.config.n_iterations)
            if change < self.config.tolerance:
                break
        return splitting.image * scale


class AdmmIteration:
    """The variables of the module's equations, for a cine without batch axes, and their updates.

    The scale, by which k-space is divided, is applied to images alone: k-space is not copied.
    """

    def __init__(
        self,
        encoding: Encoding,
        kspace: Tensor,
        start: Tensor,
        penalties: list[Penalty],
        config: SolverConfig,
        scale: Tensor | float = 1.0,
    ) -> None:
        self.encoding, self.kspace, self.penalties, self.scale = encoding, kspace, penalties, scale
        coupling = sum((penalty.coupling for penalty in penalties), Coupling())
        self.proximal_weight = 0.0 if coupling.identity else PROXIMAL_WEIGHT
        coupling = coupling + Coupling(identity=self.proximal_weight)
        self.update = choose_image_update(encoding, coupling, start.dtype, config.n_cg_iterations)
        self.target = encoding.adjoint(kspace).div_(scale)
        self.u, self.image = start, start.clone()
        self.buffer = torch.empty_like(start)
        for penalty in penalties:
            penalty.initialise(start)
        self.n_averaged = config.n_averaged if any(penalty.is_random for penalty in penalties) else 1
        self.n_steps = 0

    def step(self, progress: float) -> float:
        """One round of updates; returns the relative change of the image."""
        for penalty in self.penalties:
            penalty.update(self.u, progress)
        right_side = torch.add(self.target, self.u, alpha=self.proximal_weight, out=self.buffer)
        for penalty in self.penalties:
            right_side.add_(penalty.right_side)
        self.u = self.update(right_side, self.u)
        self.n_steps += 1
        share = 1 / min(self.n_steps, self.n_averaged)
        move = torch.sub(self.u, self.image, out=self.buffer)
        self.image.add_(move, alpha=share)
        return share * float(norm(move) / norm(self.image))

    def measure(self) -> tuple[float, float]:
        """The cost, and ||A u - y|| / ||y||."""
        residual = self.encoding.relative_residual(self.u * self.scale, self.kspace)
        misfit = residual * float(norm(self.kspace) / self.scale)
        return misfit**2 / 2 + sum(penalty.cost(self.u) for penalty in self.penalties), residual


def norm(x: Tensor) -> Tensor:
    """||x||; of real and imaginary parts, since the magnitude of complex numbers is slow."""
    length: Tensor = torch.linalg.vector_norm(torch.view_as_real(x))
    return length
