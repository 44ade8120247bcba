"""Coils: prewhitening, compression, and sensitivity maps."""

from cinerecon.physics.coils.compression import (
    CoilStatistics,
    Compression,
    apply_coil_matrix,
    apply_geometric_compression,
    coil_shading,
    compression_matrix,
    geometric_compression_matrices,
    transform_coils,
    transform_maps,
)
from cinerecon.physics.coils.espirit import espirit, espirit_eigenmaps
from cinerecon.physics.coils.estimate import estimate_csm, smooth_maps
from cinerecon.physics.coils.walsh import walsh

__all__ = [
    "CoilStatistics",
    "Compression",
    "apply_coil_matrix",
    "apply_geometric_compression",
    "coil_shading",
    "compression_matrix",
    "espirit",
    "espirit_eigenmaps",
    "estimate_csm",
    "geometric_compression_matrices",
    "smooth_maps",
    "transform_coils",
    "transform_maps",
    "walsh",
]
