"""Coils: prewhitening, compression, and sensitivity maps."""

from cinerecon.physics.coils.compression import (
    apply_geometric_compression,
    compression_matrix,
    geometric_compression_matrices,
)
from cinerecon.physics.coils.espirit import espirit, espirit_eigenmaps
from cinerecon.physics.coils.estimate import CsmMethod, calibration_size, doubt_of_maps, estimate_csm, time_average
from cinerecon.physics.coils.matrices import mix_coils, mix_maps, shading_of
from cinerecon.physics.coils.smooth import smooth_maps
from cinerecon.physics.coils.walsh import walsh
from cinerecon.physics.coils.whitening import apply_coil_matrix, noise_covariance, whitening_matrix

__all__ = [
    "CsmMethod",
    "apply_coil_matrix",
    "apply_geometric_compression",
    "calibration_size",
    "compression_matrix",
    "doubt_of_maps",
    "espirit",
    "espirit_eigenmaps",
    "estimate_csm",
    "geometric_compression_matrices",
    "mix_coils",
    "mix_maps",
    "noise_covariance",
    "shading_of",
    "smooth_maps",
    "time_average",
    "walsh",
    "whitening_matrix",
]
