"""Penalties for ADMM: low rank of the series or of randomly placed blocks, and total variation in space and time.

The forward differences of a series are circular, except those in time of a real-time series, whose last difference is
zero.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cinerecon.methods.classical.config import LowRankConfig, VariationConfig
from cinerecon.physics.lowrank import Shrinkage, as_patches, make_rule, shrink_casorati, shrink_patches

CONTINUATION_FRACTION = 0.6
"""Fraction of the iterations after which the weight has decreased to its final value."""


PENALTY_EXPONENTS = {"schatten": None, "absolute_soft": 1.0}
"""Rules that are proximal maps of (mu / p) sum s^p, and their p; None means the configured value."""
WEIGHTED_RULES = {*PENALTY_EXPONENTS, "nuclear_minus_frobenius"}


def difference(u: Tensor, axis: int, out: Tensor, *, is_cyclic: bool = True) -> Tensor:
    """Write D u along one axis, u[n + 1] - u[n], to `out`; the last is u[0] - u[n], or 0 if the axis is not cyclic."""
    last = u.shape[axis] - 1
    torch.sub(u.narrow(axis, 1, last), u.narrow(axis, 0, last), out=out.narrow(axis, 0, last))
    if is_cyclic:
        torch.sub(u.narrow(axis, 0, 1), u.narrow(axis, last, 1), out=out.narrow(axis, last, 1))
    else:
        out.narrow(axis, last, 1).zero_()
    return out


def add_adjoint_difference(total: Tensor, d: Tensor, axis: int, factor: float) -> Tensor:
    """Add factor D^T d, with D^T d = d[n - 1] - d[n], to `total`; if the axis is not cyclic, the last d must be 0."""
    last = d.shape[axis] - 1
    total.sub_(d, alpha=factor)
    total.narrow(axis, 1, last).add_(d.narrow(axis, 0, last), alpha=factor)
    total.narrow(axis, 0, 1).add_(d.narrow(axis, last, 1), alpha=factor)
    return total


def difference_spectrum(n: int) -> Tensor:
    """Eigenvalues ``(n,)`` of D^T D for a circular difference of length n, zero frequency at index 0."""
    return 2 - 2 * torch.cos(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n)


@dataclass(frozen=True)
class Coupling:
    """K^H K of the split-off penalties: identity + time D_t^T D_t + y D_y^T D_y + x D_x^T D_x.

    The frames are cyclic unless one of the penalties treats them as not cyclic.
    """

    identity: float = 0.0
    time: float = 0.0
    y: float = 0.0
    x: float = 0.0
    is_cyclic: bool = True

    def __add__(self, other: "Coupling") -> "Coupling":
        """The sum of two couplings."""
        is_cyclic = self.is_cyclic and other.is_cyclic
        space = self.y + other.y, self.x + other.x
        return Coupling(self.identity + other.identity, self.time + other.time, *space, is_cyclic)

    def add_to(self, total: Tensor, u: Tensor, buffer: Tensor) -> Tensor:
        """Add K^H K u to `total`; the buffer has the shape of u."""
        total.add_(u, alpha=self.identity)
        for axis, factor in enumerate((self.time, self.y, self.x)):
            if factor:
                d = difference(u, axis, buffer, is_cyclic=self.is_cyclic or axis > 0)
                add_adjoint_difference(total, d, axis, factor)
        return total


class LowRankPenalty:
    """A rule for the singular values of the Casorati matrix (voxels x frames), or of those of blocks of the image.

    With the Schatten rule it is the penalty (mu / p) sum s^p. Rules that are not the proximal map of such a norm
    replace it, and contribute nothing to the cost.

    Parameters
    ----------
    config
        Settings.
    factor
        Factor on the weight mu.
    """

    def __init__(self, config: LowRankConfig, factor: float = 1.0) -> None:
        self.config = config
        self.weight = factor * config.weight_lowrank
        self.coupling = Coupling(identity=config.penalty_lowrank)
        self.is_random = config.block_size > 0

    def initialise(self, u: Tensor) -> None:
        """See `Penalty`."""
        self.random = np.random.default_rng(0)
        self.v = torch.zeros_like(u)
        self.right_side = torch.empty_like(u)

    def update(self, u: Tensor, progress: float) -> None:
        """See `Penalty`."""
        moved = self.v.add_(u)
        shrunk = self._shrink(moved, self.rule(progress))
        torch.sub(moved, shrunk, out=self.v)
        torch.sub(shrunk, self.v, out=self.right_side).mul_(self.coupling.identity)

    def rule(self, progress: float = 1.0) -> Shrinkage:
        """The rule at a progress between 0 and 1; the weight decreases to its final value and then stays constant."""
        config = self.config
        if config.shrinkage not in WEIGHTED_RULES:
            return make_rule(config)
        excess = max(1.0, config.continuation ** (1 - progress / CONTINUATION_FRACTION))
        level = excess * self.weight / config.penalty_lowrank
        return make_rule(config.model_copy(update={"prox_weight": level}))

    def _shrink(self, series: Tensor, rule: Shrinkage) -> Tensor:
        size = self.config.block_size
        if not size:
            return shrink_casorati(series, rule)
        shift = self.random.integers(size, size=2)
        return shrink_patches(series, rule, size, (int(shift[0]), int(shift[1])))

    def cost(self, u: Tensor) -> float:
        """See `Penalty`; evaluated for the tiling of blocks that starts in the corner of the image."""
        config = self.config
        if config.shrinkage not in PENALTY_EXPONENTS:
            return 0.0
        p = PENALTY_EXPONENTS[config.shrinkage] or config.p
        values = torch.linalg.eigvalsh(gram_matrices(u, config.block_size)).clamp(min=0).sqrt()
        return self.weight / p * float((values**p).sum())


def gram_matrices(u: Tensor, block_size: int) -> Tensor:
    """Gram matrices ``(blocks, frames, frames)`` double of the Casorati matrices."""
    double = u.to(torch.complex128)
    matrices = as_patches(double, block_size).flatten(0, 1) if block_size else double.flatten(1)[None]
    return matrices @ matrices.mH


class TotalVariationPenalty:
    """tau (w_t |D_t u| + w_s |D_y u| + w_s |D_x u|) summed over the voxels, or the magnitude of this gradient.

    Parameters
    ----------
    config
        Settings.
    factor
        Factor on the weight tau.
    is_cyclic
        Whether the first frame follows the last.
    """

    is_random = False

    def __init__(self, config: VariationConfig, factor: float = 1.0, *, is_cyclic: bool = True) -> None:
        self.config, self.is_cyclic = config, is_cyclic
        self.weight = factor * config.weight_sparse
        factors = (config.temporal_weight, config.spatial_weight, config.spatial_weight)
        self.axes = [(axis, factor) for axis, factor in enumerate(factors) if factor > 0]
        self.groups = [self.axes] if config.isotropic and self.axes else [[axis] for axis in self.axes]
        time, y, x = (config.penalty_sparse * factor**2 for factor in factors)
        self.coupling = Coupling(0.0, time, y, x, is_cyclic)

    def initialise(self, u: Tensor) -> None:
        """See `Penalty`."""
        self.v = [[torch.zeros_like(u) for _ in group] for group in self.groups]
        self.buffers = [torch.empty_like(u) for _ in range(max(map(len, self.groups), default=1))]
        self.size = torch.empty_like(u.real)
        self.right_side = torch.empty_like(u)

    def update(self, u: Tensor, progress: float) -> None:  # noqa: ARG002
        """See `Penalty`."""
        self.right_side.zero_()
        for group, multipliers in zip(self.groups, self.v, strict=True):
            for (axis, factor), v, moved in zip(group, multipliers, self.buffers, strict=True):
                v.add_(self._difference(u, axis, moved), alpha=factor)
            removed = self._within(multipliers)
            for (axis, factor), v, moved in zip(group, multipliers, self.buffers, strict=True):
                moved.copy_(v)
                v.mul_(removed)
                moved.sub_(v, alpha=2)
                add_adjoint_difference(self.right_side, moved, axis, self.config.penalty_sparse * factor)

    def _difference(self, u: Tensor, axis: int, out: Tensor) -> Tensor:
        return difference(u, axis, out, is_cyclic=self.is_cyclic or axis > 0)

    def _within(self, moved: list[Tensor]) -> Tensor:
        """Fraction of K u + v that shrinkage removes, which becomes v."""
        square_length(moved, self.size)
        reciprocal = self.size.clamp_(min=torch.finfo(self.size.dtype).tiny).rsqrt_()
        return reciprocal.mul_(self.weight / self.config.penalty_sparse).clamp_(max=1)

    def cost(self, u: Tensor) -> float:
        """See `Penalty`."""
        total = 0.0
        for group in self.groups:
            parts = [
                self._difference(u, axis, moved).mul_(factor)
                for (axis, factor), moved in zip(group, self.buffers, strict=True)
            ]
            total += float(square_length(parts, self.size).sqrt_().sum(dtype=torch.float64))
        return self.weight * total


def square_length(vectors: list[Tensor], out: Tensor) -> Tensor:
    """Sum of |.|^2 over a list of complex tensors; computed from real and imaginary parts, which is faster."""
    torch.mul(vectors[0].real, vectors[0].real, out=out)
    out.addcmul_(vectors[0].imag, vectors[0].imag)
    for vector in vectors[1:]:
        out.addcmul_(vector.real, vector.real).addcmul_(vector.imag, vector.imag)
    return out
