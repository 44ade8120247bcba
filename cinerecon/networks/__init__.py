"""Pure networks: ``net(kspace, encoding) -> image``. They know no file, no device and no absolute scale."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cinerecon.config import Config, nearest_name
from cinerecon.errors import ConfigError


def _slrnet() -> tuple[type[Config], Callable[..., nn.Module]]:
    from cinerecon.networks.slrnet import SlrNet, SlrNetConfig

    return SlrNetConfig, SlrNet


NETWORKS = {"slrnet": _slrnet}


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. of a recipe.

    Raises
    ------
    ConfigError
        If the name, a key or a value is wrong.
    """
    if name not in NETWORKS:
        raise ConfigError(f"unknown network '{name}'", hint=nearest_name(name, list(NETWORKS)))
    config_class, network = NETWORKS[name]()
    return network(config_class.parse({**(config or {}), **settings}, where=f"network {name}"))
