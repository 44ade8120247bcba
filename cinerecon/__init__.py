"""cinerecon: reconstruct accelerated dynamic (cine) cardiac MRI. A raw scan goes in, a cine comes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinerecon import metrics, networks
    from cinerecon.acquisition.open import open_scan, read_slices
    from cinerecon.cine import CineData
    from cinerecon.errors import CineReconError, CineReconWarning
    from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
    from cinerecon.methods.table import load_method
    from cinerecon.physics.operators import Encoding
    from cinerecon.reconstruction.public import export, reconstruct
    from cinerecon.reconstruction.slices import ReconstructedSlice
    from cinerecon.simulation.config import SimulateConfig
    from cinerecon.simulation.scan import simulate_cine

    __version__: str

__all__ = [
    "CineData",
    "CineReconError",
    "CineReconWarning",
    "Encoding",
    "ReconstructedSlice",
    "SimulateConfig",
    "__version__",
    "export",
    "load_method",
    "metrics",
    "networks",
    "open_scan",
    "read_mrd",
    "read_slices",
    "reconstruct",
    "simulate_cine",
]

if not TYPE_CHECKING:
    _MODULES = {
        "CineData": "cine",
        "CineReconError": "errors",
        "CineReconWarning": "errors",
        "Encoding": "physics.operators",
        "ReconstructedSlice": "reconstruction.slices",
        "SimulateConfig": "simulation.config",
        "__version__": "version",
        "export": "reconstruction.public",
        "load_method": "methods.table",
        "open_scan": "acquisition.open",
        "read_mrd": "io.ismrmrd.hdf5_scan",
        "read_slices": "acquisition.open",
        "reconstruct": "reconstruction.public",
        "simulate_cine": "simulation.scan",
    }

    def __getattr__(name: str) -> Any:
        """Import a public name at first use (PEP 562), so that importing the package takes no time."""
        if name == "intake":
            import_module("warnings").warn("cinerecon.intake is now read_slices", DeprecationWarning, stacklevel=2)
            name = "read_slices"
        if name in ("metrics", "networks"):
            return import_module(f"{__name__}.{name}")
        if name not in _MODULES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
