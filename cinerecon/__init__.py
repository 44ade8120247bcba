"""cinerecon: reconstruct accelerated dynamic (cine) cardiac MRI. A raw scan goes in, a cine comes out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinerecon import metrics, networks
    from cinerecon.acquisition import intake
    from cinerecon.cine import CineData
    from cinerecon.io.ismrmrd.raw import read_mrd
    from cinerecon.methods.table import load_method
    from cinerecon.physics.operators import Encoding
    from cinerecon.simulation.scan import simulate_cine

__all__ = ["CineData", "Encoding", "intake", "load_method", "metrics", "networks", "read_mrd", "simulate_cine"]

_HOMES = {
    "CineData": "cinerecon.cine",
    "Encoding": "cinerecon.physics.operators",
    "intake": "cinerecon.acquisition",
    "load_method": "cinerecon.methods.table",
    "read_mrd": "cinerecon.io.ismrmrd.raw",
    "simulate_cine": "cinerecon.simulation.scan",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import cinerecon`` takes no time."""
    if name in ("metrics", "networks"):
        return import_module(f"cinerecon.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'cinerecon' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
