"""The solver that k-t SLR, locally low rank and total variation share."""

from cinerecon.methods.classical.admm.low_rank import LowRank, LowRankConfig
from cinerecon.methods.classical.admm.solver import AdmmMethod, SolverConfig, Term
from cinerecon.methods.classical.admm.variation import TotalVariation, VariationConfig

__all__ = ["AdmmMethod", "LowRank", "LowRankConfig", "SolverConfig", "Term", "TotalVariation", "VariationConfig"]
