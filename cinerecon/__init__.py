"""cinerecon: reconstruct accelerated dynamic (cine) cardiac MRI. A raw scan goes in, a cine comes out."""

from typing import TYPE_CHECKING

from cinerecon.lazy import lazy_names

if TYPE_CHECKING:
    from cinerecon import metrics, networks
    from cinerecon.acquisition import intake
    from cinerecon.acquisition import open_cine as open_scan
    from cinerecon.cine import CineData
    from cinerecon.errors import CineReconError, CineReconWarning
    from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
    from cinerecon.methods.table import load_method
    from cinerecon.physics.operators import Encoding
    from cinerecon.reconstruction import ReconstructedSlice, export, reconstruct
    from cinerecon.simulation.scan import simulate_cine

    __version__: str

__all__ = [
    "CineData",
    "CineReconError",
    "CineReconWarning",
    "Encoding",
    "ReconstructedSlice",
    "__version__",
    "export",
    "intake",
    "load_method",
    "metrics",
    "networks",
    "open_scan",
    "read_mrd",
    "reconstruct",
    "simulate_cine",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "CineData": "cinerecon.cine",
            "CineReconError": "cinerecon.errors",
            "CineReconWarning": "cinerecon.errors",
            "Encoding": "cinerecon.physics.operators",
            "ReconstructedSlice": "cinerecon.reconstruction",
            "__version__": "cinerecon.version",
            "export": "cinerecon.reconstruction",
            "intake": "cinerecon.acquisition",
            "load_method": "cinerecon.methods.table",
            "metrics": "cinerecon.metrics:",
            "networks": "cinerecon.networks:",
            "open_scan": "cinerecon.acquisition:open_cine",
            "read_mrd": "cinerecon.io.ismrmrd.hdf5_scan",
            "reconstruct": "cinerecon.reconstruction",
            "simulate_cine": "cinerecon.simulation.scan",
        },
    )
