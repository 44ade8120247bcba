"""Pure networks: ``net(kspace, encoding) -> image``. They know no file, no device and no absolute scale."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from cinerecon.config import Config, nearest_name
from cinerecon.errors import ConfigError
from cinerecon.networks.crnn import Crnn, CrnnConfig
from cinerecon.networks.dccnn import DcCnn, DcCnnConfig
from cinerecon.networks.istanet import IstaNet, IstaNetConfig
from cinerecon.networks.jotlasnet import JotlasNet, JotlasNetConfig
from cinerecon.networks.lsnet import LsNet, LsNetConfig
from cinerecon.networks.slrnet import SlrNet, SlrNetConfig
from cinerecon.networks.t2lrnet import T2lrNet, T2lrNetConfig

NETWORKS: dict[str, tuple[type[Config], Callable[[Any], nn.Module]]] = {
    "slrnet": (SlrNetConfig, SlrNet),
    "istanet": (IstaNetConfig, IstaNet),
    "dccnn": (DcCnnConfig, DcCnn),
    "crnn": (CrnnConfig, Crnn),
    "lsnet": (LsNetConfig, LsNet),
    "t2lrnet": (T2lrNetConfig, T2lrNet),
    "jotlasnet": (JotlasNetConfig, JotlasNet),
}
"""The one list of all networks: what each can be told, and the network. Those who import it have torch already."""


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. of a recipe.

    Parameters
    ----------
    name
        A name of the list.
    config
        Settings by name; what is not said is as in the network's config class.
    settings
        More of them.

    Raises
    ------
    ConfigError
        If the name, a key or a value is wrong.
    """
    if name not in NETWORKS:
        raise ConfigError(f"unknown network '{name}'", hint=nearest_name(name, list(NETWORKS)))
    config_class, network = NETWORKS[name]
    return network(config_class.parse({**(config or {}), **settings}, where=f"network {name}"))
