"""Low rank as a penalty of ADMM: shrinkage of the singular values of the series, or of randomly placed blocks."""

import numpy as np
import torch
from torch import Tensor

from cinerecon.methods.classical.admm.differences import Coupling
from cinerecon.methods.classical.config import LowRankConfig
from cinerecon.physics.lowrank import Shrinkage, as_patches, make_rule, shrink_casorati, shrink_patches

CONTINUATION_FRACTION = 0.6
"""Fraction of the iterations after which the weight has fallen to its value."""


PENALTY_EXPONENTS = {"schatten": None, "absolute_soft": 1.0}
"""Rules that are proximal maps of (mu / p) sum s^p, and their p; None: as configured."""
WEIGHTED_RULES = {*PENALTY_EXPONENTS, "nuclear_minus_frobenius"}


class LowRankPenalty:
    """A rule for the singular values of the Casorati matrix (voxels x frames), or of those of blocks of the image.

    With the Schatten rule it is the penalty (mu / p) sum s^p. Rules that are not the proximal map of such a norm
    replace it, and contribute nothing to the cost.
    """

    def __init__(self, config: LowRankConfig) -> None:
        self.config = config
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
        """The rule at a time between 0 and 1; the weight falls to its value, and stays there."""
        config = self.config
        if config.shrinkage not in WEIGHTED_RULES:
            return make_rule(config)
        excess = max(1.0, config.continuation ** (1 - progress / CONTINUATION_FRACTION))
        level = excess * config.weight_lowrank / config.penalty_lowrank
        return make_rule(config.model_copy(update={"prox_weight": level}))

    def _shrink(self, series: Tensor, rule: Shrinkage) -> Tensor:
        size = self.config.block_size
        if not size:
            return shrink_casorati(series, rule)
        shift = self.random.integers(size, size=2)
        return shrink_patches(series, rule, size, (int(shift[0]), int(shift[1])))

    def cost(self, u: Tensor) -> float:
        """See `Penalty`; of the blocks whose tiling begins in the corner."""
        config = self.config
        if config.shrinkage not in PENALTY_EXPONENTS:
            return 0.0
        p = PENALTY_EXPONENTS[config.shrinkage] or config.p
        values = torch.linalg.eigvalsh(gram_matrices(u, config.block_size)).clamp(min=0).sqrt()
        return config.weight_lowrank / p * float((values**p).sum())


def gram_matrices(u: Tensor, block_size: int) -> Tensor:
    """Gram matrices ``(blocks, frames, frames)`` double of the Casorati matrices."""
    double = u.to(torch.complex128)
    matrices = as_patches(double, block_size).flatten(0, 1) if block_size else double.flatten(1)[None]
    return matrices @ matrices.mH
