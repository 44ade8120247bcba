"""Pure networks: ``net(kspace, encoding) -> image``. They know no file, no device and no absolute scale."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.networks.blocks import begin_near_the_first_image
from cinerecon.networks.external import is_external, load_external, portable
from cinerecon.networks.unrolled import NetworkConfig

NETWORKS = {
    "stvarnet": ("StVarNet", "ST-VarNet: data consistency and separable space-time features, carried over cascades"),
    "slrnet": ("SlrNet", "SLR-Net: learned sparse transform and learned low rank"),
    "istanet": ("IstaNet", "ISTA-Net: learned sparse transform with soft thresholding"),
    "dccnn": ("DcCnn", "DC-CNN: residual convolutions and data consistency in turn"),
    "crnn": ("Crnn", "CRNN: convolutions recurrent over frames and iterations"),
    "lsnet": ("LsNet", "L+S-Net: low-rank part plus learned sparse part"),
    "t2lrnet": ("T2lrNet", "T2LR-Net: low rank in a learned transform domain"),
    "jotlasnet": ("JotlasNet", "JotlasNet: low rank and attention-thresholded sparsity in learned domains"),
    "passnet": ("PassNet", "PASSNet: position-aware singular value shrinkage, fused with sparsity voxel by voxel"),
}
"""The one list of all networks: the file, the class in it (its settings are the class with ``Config`` behind its name),
and a line for the list of methods. A file is imported when its network is built."""


def load_network(name: str) -> tuple[type[Config], Callable[[Any], nn.Module]]:
    """The settings of a network, and its class: both of the list, or of a file (``mynet.py:MyNet``), which is run.

    Raises
    ------
    ConfigError
        If there is no such network, or it cannot be imported.
    """
    if is_external(name):
        external = load_external(name)
        return external.config_class, external.network
    if name not in NETWORKS:
        raise ConfigError(f"unknown network '{name}'", hint=nearest_name(name, list(NETWORKS)))
    module, (network, _) = import_module(f"{__name__}.{name}"), NETWORKS[name]
    return getattr(module, f"{network}Config"), getattr(module, network)


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. of a recipe.

    Parameters
    ----------
    name
        A name of the list, or ``mynet.py:MyNet`` with the path of the file.
    config
        Settings by name; what is not said is as in the network's config class.
    settings
        More of them.

    Raises
    ------
    ConfigError
        If the name, a key or a value is wrong.
    """
    config_class, network = load_network(name)
    parsed = config_class.parse({**(config or {}), **settings}, where=f"network {portable(name)}")
    net = network(parsed)
    if isinstance(parsed, NetworkConfig) and parsed.output_weight_scale != 1:
        begin_near_the_first_image(net, parsed.output_weight_scale)
    return net
