"""Build networks by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

from cinerecon.config import Config
from cinerecon.networks.external import load_external
from cinerecon.networks.table import find_network, is_external, portable
from cinerecon.networks.unrolled import Unrolled, count_parameters, scale_output_weights


def load_network(name: str) -> tuple[type[Config], Callable[[Any], nn.Module]]:
    """Import a network: one of the table, or a class in a Python file (``mynet.py:MyNet``), which is executed.

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
    entry = find_network(name)
    network: type[Unrolled[Any]] = getattr(import_module(f"cinerecon.networks.{name}"), entry.network)
    return entry.config_class, network


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. those of a recipe.

    Parameters
    ----------
    name
        A name of the table, or ``mynet.py:MyNet`` with the path of the file.
    config
        Settings by name; others have the defaults of the network's settings.
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


def count_parameters_of(name: str, config: Mapping[str, Any]) -> int:
    """Number of learned parameters of a network, without allocating them; parameters and errors as for `build`."""
    with torch.device("meta"):
        return count_parameters(build(name, config))
