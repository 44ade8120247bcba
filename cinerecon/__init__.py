"""cinerecon: reconstruct accelerated dynamic (cine) cardiac MRI. A raw scan goes in, a cine comes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "CineData": "cinerecon.cine",
    "CineReconError": "cinerecon.errors",
    "CineReconWarning": "cinerecon.errors",
    "Encoding": "cinerecon.physics.operators",
    "ReconstructedSlice": "cinerecon.reconstruction",
    "export": "cinerecon.reconstruction",
    "intake": "cinerecon.acquisition",
    "load_method": "cinerecon.methods.table",
    "open_scan": "cinerecon.acquisition",
    "read_mrd": "cinerecon.io.ismrmrd.hdf5_scan",
    "reconstruct": "cinerecon.reconstruction",
    "simulate_cine": "cinerecon.simulation.scan",
}

_NAMES_IN_MODULES = {"open_scan": "open_cine"}
"""Names in their modules, where these differ: `acquisition.open_scan` opens raw scans only."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import cinerecon`` takes no time."""
    if name in ("metrics", "networks"):
        return import_module(f"cinerecon.{name}")
    if name == "__version__":
        return import_module("importlib.metadata").version("cinerecon")
    if name not in _HOMES:
        raise AttributeError(f"module 'cinerecon' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), _NAMES_IN_MODULES.get(name, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
