"""The solver that k-t SLR, locally low rank and total variation share."""

from cinerecon.methods.classical.admm.low_rank import LowRankPenalty
from cinerecon.methods.classical.admm.solver import AdmmMethod, Penalty
from cinerecon.methods.classical.admm.variation import TotalVariationPenalty

__all__ = [
    "AdmmMethod",
    "LowRankPenalty",
    "Penalty",
    "TotalVariationPenalty",
]
