"""Networks ``net(kspace, encoding) -> image``, independent of files, devices and the absolute scale of the data."""

from typing import TYPE_CHECKING

from cinerecon.lazy import lazy_names
from cinerecon.networks.table import NETWORKS, find_network

if TYPE_CHECKING:
    from cinerecon.networks.builder import build, count_parameters_of, load_network

__all__ = ["NETWORKS", "build", "count_parameters_of", "find_network", "load_network"]

if not TYPE_CHECKING:
    _BUILDER = "cinerecon.networks.builder"
    __getattr__, __dir__ = lazy_names(
        __name__, {"build": _BUILDER, "count_parameters_of": _BUILDER, "load_network": _BUILDER}
    )
