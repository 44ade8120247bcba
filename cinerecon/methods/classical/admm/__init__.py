"""The solver that k-t SLR, locally low rank and total variation share."""

from cinerecon.methods.classical.admm.low_rank import LowRankConfig, LowRankPenalty
from cinerecon.methods.classical.admm.solver import AdmmMethod, Penalty, SolverConfig
from cinerecon.methods.classical.admm.variation import TotalVariationPenalty, VariationConfig

__all__ = [
    "AdmmMethod",
    "LowRankConfig",
    "LowRankPenalty",
    "Penalty",
    "SolverConfig",
    "TotalVariationPenalty",
    "VariationConfig",
]
