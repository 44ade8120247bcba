"""The solver that k-t SLR, locally low rank and total variation share."""

from cinerecon.methods.splitting.low_rank import LowRank, LowRankConfig
from cinerecon.methods.splitting.solver import Penalised, SolverConfig, Term
from cinerecon.methods.splitting.variation import TotalVariation, VariationConfig

__all__ = ["LowRank", "LowRankConfig", "Penalised", "SolverConfig", "Term", "TotalVariation", "VariationConfig"]
