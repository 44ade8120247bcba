"""Methods with a few iterations, for properties that hold after any number of them."""

from cinerecon.methods.base import Reconstructor
from cinerecon.methods.table import load_method

FEW = {
    "ktslr": ("n_iterations=4",),
    "llr": ("n_iterations=4",),
    "ttv": ("n_iterations=4",),
    "lps": ("n_iterations=4",),
    "ktslr-reference": ("n_outer=3", "n_inner=3", "n_cg_iterations=5"),
}
"""Settings by name of the method."""


def load_short(name: str, settings: tuple[str, ...] = (), **options: object) -> Reconstructor:
    """Load a method with few iterations; a network with few iterations for its initial image."""
    method = load_method(name, (*FEW.get(name, ()), *settings), **options)
    initial = getattr(method, "initial_method", None)
    if initial is not None:
        method.initial_method = load_method(
            initial.name, FEW.get(initial.name, ()), device=options.get("device", "cpu")
        )
    return method
