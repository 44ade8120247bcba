"""Low rank: shrinkage of singular values, computed without a singular value decomposition."""

from cinerecon.physics.lowrank.rules import (
    AbsoluteSoft,
    AdaptiveTraceNorm,
    Measured,
    NuclearMinusFrobenius,
    OptimalShrinkage,
    RelativeSoft,
    Schatten,
    Shrinkage,
    Spectrum,
    TopKHard,
    TopKSoft,
)
from cinerecon.physics.lowrank.spectral import as_patches, shrink_casorati, shrink_frames, shrink_matrix, shrink_patches
from cinerecon.physics.shrinkage import make_rule

__all__ = [
    "AbsoluteSoft",
    "AdaptiveTraceNorm",
    "Measured",
    "NuclearMinusFrobenius",
    "OptimalShrinkage",
    "RelativeSoft",
    "Schatten",
    "Shrinkage",
    "Spectrum",
    "TopKHard",
    "TopKSoft",
    "as_patches",
    "make_rule",
    "shrink_casorati",
    "shrink_frames",
    "shrink_matrix",
    "shrink_patches",
]
