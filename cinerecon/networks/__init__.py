"""Networks ``net(kspace, encoding) -> image``, independent of files, devices and the absolute scale of the data."""

from typing import TYPE_CHECKING

from cinerecon.lazy import lazy_names
from cinerecon.networks.table import NETWORKS, find_network

if TYPE_CHECKING:
    from cinerecon.networks.unrolled import build, count_parameters_of, load_network

__all__ = ["NETWORKS", "build", "count_parameters_of", "find_network", "load_network"]

if not TYPE_CHECKING:
    _UNROLLED = "cinerecon.networks.unrolled"
    __getattr__, __dir__ = lazy_names(
        __name__, {"build": _UNROLLED, "count_parameters_of": _UNROLLED, "load_network": _UNROLLED}
    )
