"""Networks ``net(kspace, encoding) -> image``, independent of files, devices and the absolute scale of the data."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.networks.external import is_external, load_external, portable
from cinerecon.networks.unrolled import Unrolled, scale_output_weights

NETWORKS = {
    "stvarnet": ("StVarNet", "ST-VarNet: data consistency, low-rank blocks and space-time convolutions"),
    "slrnet": ("SlrNet", "SLR-Net: learned sparse transform and learned low rank"),
    "istanet": ("IstaNet", "ISTA-Net: learned sparse transform with soft thresholding"),
    "dccnn": ("DcCnn", "DC-CNN: residual convolutions and data consistency in turn"),
    "crnn": ("Crnn", "CRNN: convolutions recurrent over frames and iterations"),
    "lsnet": ("LsNet", "L+S-Net: low-rank part plus learned sparse part"),
    "t2lrnet": ("T2lrNet", "T2LR-Net: low rank in a learned transform domain"),
    "jotlasnet": ("JotlasNet", "JotlasNet: low rank and attention-thresholded sparsity in learned domains"),
    "passnet": ("PassNet", "PASSNet: position-aware singular value shrinkage, fused with sparsity voxel by voxel"),
}
"""All networks by name: module, class and summary. The settings of a network are its `config_class`; a module is
imported when its network is built."""


def load_network(name: str) -> tuple[type[Config], Callable[[Any], nn.Module]]:
    """Import a network: one of the list, or a class in a Python file (``mynet.py:MyNet``), which is executed.

    Returns
    -------
    tuple
        The class of its settings, and the class of the network.

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
    network: type[Unrolled[Any]] = getattr(import_module(f"{__name__}.{name}"), NETWORKS[name][0])
    return network.config_class, network


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. those of a recipe.

    Parameters
    ----------
    name
        A name of the list, or ``mynet.py:MyNet`` with the path of the file.
    config
        Settings by name; others have the defaults of the network's `config_class`.
    settings
        Further settings.

    Raises
    ------
    ConfigError
        If the name, a key or a value is wrong, or the network has no output convolutions to scale.
    """
    config_class, network = load_network(name)
    parsed = config_class.parse({**(config or {}), **settings}, where=f"network {portable(name)}")
    net = network(parsed)
    if isinstance(net, Unrolled) and net.config.output_weight_scale != 1:
        scale_output_weights(net, net.config.output_weight_scale)
    return net
