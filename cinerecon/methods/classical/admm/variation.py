"""Total variation in space and time as a penalty of ADMM: shrinkage of differences."""

import torch
from torch import Tensor

from cinerecon.methods.classical.admm.differences import Coupling, add_adjoint_difference, difference
from cinerecon.methods.classical.config import VariationConfig


class TotalVariationPenalty:
    """tau (w_t |D_t u| + w_s |D_y u| + w_s |D_x u|) summed over the voxels, or the length of that gradient."""

    is_random = False

    def __init__(self, config: VariationConfig, *, is_cyclic: bool = True) -> None:
        self.config, self.is_cyclic = config, is_cyclic
        factors = (config.temporal_weight, config.spatial_weight, config.spatial_weight)
        self.axes = [(axis, factor) for axis, factor in enumerate(factors) if factor > 0]
        self.groups = [self.axes] if config.isotropic and self.axes else [[one] for one in self.axes]
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
        return reciprocal.mul_(self.config.weight_sparse / self.config.penalty_sparse).clamp_(max=1)

    def cost(self, u: Tensor) -> float:
        """See `Penalty`."""
        total = 0.0
        for group in self.groups:
            parts = [
                self._difference(u, axis, moved).mul_(factor)
                for (axis, factor), moved in zip(group, self.buffers, strict=True)
            ]
            total += float(square_length(parts, self.size).sqrt_().sum(dtype=torch.float64))
        return self.config.weight_sparse * total


def square_length(vectors: list[Tensor], out: Tensor) -> Tensor:
    """Sum of |.|^2 over a list of complex tensors; by parts, since the magnitude of complex numbers is slow."""
    torch.mul(vectors[0].real, vectors[0].real, out=out)
    out.addcmul_(vectors[0].imag, vectors[0].imag)
    for vector in vectors[1:]:
        out.addcmul_(vector.real, vector.real).addcmul_(vector.imag, vector.imag)
    return out
