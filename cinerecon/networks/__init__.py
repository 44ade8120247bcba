"""Pure networks: ``net(kspace, encoding) -> image``. They know no file, no device and no absolute scale."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cinerecon.config import Config, nearest_name
from cinerecon.errors import ConfigError


def _slrnet() -> tuple[type[Config], Callable[..., nn.Module]]:
    from cinerecon.networks.slrnet import SlrNet, SlrNetConfig

    return SlrNetConfig, SlrNet


def _lsnet() -> tuple[type[Config], Callable[..., nn.Module]]:
    from cinerecon.networks.lsnet import LsNet, LsNetConfig

    return LsNetConfig, LsNet


def _t2lrnet() -> tuple[type[Config], Callable[..., nn.Module]]:
    from cinerecon.networks.t2lrnet import T2lrNet, T2lrNetConfig

    return T2lrNetConfig, T2lrNet


def _jotlasnet() -> tuple[type[Config], Callable[..., nn.Module]]:
    from cinerecon.networks.jotlasnet import JotlasNet, JotlasNetConfig

    return JotlasNetConfig, JotlasNet


NETWORKS = {
    "slrnet": _slrnet,
    "lsnet": _lsnet,
    "t2lrnet": _t2lrnet,
    "jotlasnet": _jotlasnet,
}


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
