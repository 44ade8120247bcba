"""Networks ``net(kspace, encoding) -> image``, independent of files, devices and the absolute scale of the data."""

from typing import TYPE_CHECKING, Any

from cinerecon.networks.table import NETWORKS, find_network

if TYPE_CHECKING:
    from cinerecon.networks.unrolled import build, count_parameters_of, load_network

__all__ = ["NETWORKS", "build", "count_parameters_of", "find_network", "load_network"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import functions that require PyTorch at first use, so that networks can be listed quickly."""
        if name not in __all__:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        from cinerecon.networks import unrolled

        return getattr(unrolled, name)
