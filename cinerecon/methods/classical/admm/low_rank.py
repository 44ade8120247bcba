"""Low rank as a penalty of ADMM: shrinkage of the singular values of the series, or of randomly placed blocks."""

from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from cinerecon.methods.classical.admm.differences import Coupling
from cinerecon.physics.lowrank import (
    Shrinkage,
    ShrinkageConfig,
    ShrinkageName,
    as_patches,
    make_rule,
    shrink_casorati,
    shrink_patches,
)

CONTINUATION_FRACTION = 0.6
"""Fraction of the iterations after which the weight has fallen to its value."""


PENALTY_EXPONENTS = {"schatten": None, "absolute_soft": 1.0}
"""Rules that are proximal maps of (mu / p) sum s^p, and their p; None: as configured."""
WEIGHTED_RULES = {*PENALTY_EXPONENTS, "nuclear_minus_frobenius"}


class LowRankConfig(ShrinkageConfig):
    """Settings of the low-rank penalty."""

    shrinkage: ShrinkageName = Field("schatten", description="rule for the singular values")
    p: float = Field(0.1, gt=0, le=1, description="exponent of the Schatten norm; 1 is the convex nuclear norm")
    weight_lowrank: float = Field(
        4e-3, ge=0, description="mu, weight of the Schatten norm, nuclear norm, or nuclear minus Frobenius norm"
    )
    block_size: int = Field(16, ge=0, description="side of the low-rank blocks [pixels]; 0: the whole image")
    continuation: float = Field(20.0, ge=1, description="how many times larger that weight is at the start")
    penalty_lowrank: float = Field(0.04, gt=0, description="rho_L, coupling to the low-rank variable")

    @field_validator("shrinkage", "prox_weight", "gate_layers", "normalize_spectrum")
    @classmethod
    def _is_not_learned(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if value == "pass" or (name != "shrinkage" and value != ShrinkageConfig.model_fields[name].default):
            raise ValueError("for networks only; here weight_lowrank sets the level")
        return value


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
