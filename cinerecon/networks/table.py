"""The table of networks. The module of a network is imported when it is built."""

from dataclasses import dataclass

from cinerecon.errors import ConfigError, nearest_name
from cinerecon.networks import config
from cinerecon.networks.config import NetworkConfig


@dataclass(frozen=True)
class NetworkEntry:
    """A network of the package.

    Attributes
    ----------
    config_class
        Class of its settings, in `networks.config`.
    network
        Name of its class, in the module that has the name of the network.
    summary
        One line for the list of methods.
    """

    config_class: type[NetworkConfig]
    network: str
    summary: str


NETWORKS = {
    "stvarnet": NetworkEntry(
        config.StVarNetConfig, "StVarNet", "ST-VarNet: data consistency, low-rank blocks and space-time convolutions"
    ),
    "slrnet": NetworkEntry(config.SlrNetConfig, "SlrNet", "SLR-Net: learned sparse transform and learned low rank"),
    "istanet": NetworkEntry(
        config.IstaNetConfig, "IstaNet", "ISTA-Net: learned sparse transform with soft thresholding"
    ),
    "dccnn": NetworkEntry(config.DcCnnConfig, "DcCnn", "DC-CNN: residual convolutions and data consistency in turn"),
    "crnn": NetworkEntry(config.CrnnConfig, "Crnn", "CRNN: convolutions recurrent over frames and iterations"),
    "lsnet": NetworkEntry(config.LsNetConfig, "LsNet", "L+S-Net: low-rank part plus learned sparse part"),
    "t2lrnet": NetworkEntry(config.T2lrNetConfig, "T2lrNet", "T2LR-Net: low rank in a learned transform domain"),
    "jotlasnet": NetworkEntry(
        config.JotlasNetConfig, "JotlasNet", "JotlasNet: low rank and attention-thresholded sparsity in learned domains"
    ),
    "passnet": NetworkEntry(
        config.PassNetConfig,
        "PassNet",
        "PASSNet: position-aware singular value shrinkage, fused with sparsity voxel by voxel",
    ),
}
"""All networks of the package by name."""


def find_network(name: str) -> NetworkEntry:
    """The entry of a network.

    Raises
    ------
    ConfigError
        If there is no such network, with the nearest name as a hint.
    """
    if name not in NETWORKS:
        raise ConfigError(f"unknown network '{name}'", hint=nearest_name(name, list(NETWORKS)))
    return NETWORKS[name]
