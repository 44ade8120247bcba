"""The list of methods and trained models, with the cards of their weights and their settings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cinerecon import networks
from cinerecon.config import Config
from cinerecon.errors import CineReconError
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ModelConfig, read_model
from cinerecon.methods.model_paths import imported_models, model_label
from cinerecon.methods.settings import Setting, list_settings
from cinerecon.methods.table import METHODS, find_method
from cinerecon.networks.external_name import is_external

Weights = Literal["", "ours", "trained", "imported", "none", "damaged"]

ARCHITECTURE = "architecture."
"""Prefix of the settings that the weights depend on."""
NOT_SETTABLE = ("network", "architecture", "card", "training")
"""Parts of a model file that cannot be set, since they describe its weights."""


@dataclass(frozen=True)
class ModelEntry:
    """One method, or one imported model.

    Attributes
    ----------
    name, kind, summary
        As in the table of methods.
    weights
        ``ours``: they come with the program; ``trained``: a run folder; ``imported``; ``none``: a network not yet
        trained; ``damaged``: a file that cannot be read; empty for classical methods.
    path
        File of the weights, if there are any.
    n_parameters
        Number of learned parameters.
    card
        The card of the weights.
    config
        The settings it has without ``--set``; None where a file is damaged.
    """

    name: str
    kind: str
    summary: str
    weights: Weights = ""
    path: Path | None = None
    n_parameters: int | None = None
    card: Card = field(default_factory=Card)
    config: Config | None = None


def list_models() -> list[ModelEntry]:
    """All methods in the order of the table, then the imported models."""
    return [describe_model(name) for name in METHODS] + [_imported(path) for path in imported_models()]


def describe_model(name: str) -> ModelEntry:
    """One method or model, by what ``--model`` takes.

    Raises
    ------
    ConfigError
        If there is no such method or model, with the nearest name as a hint.
    WeightsError
        If its file is damaged.
    """
    method = find_method(name)
    if method.kind == "classical":
        return ModelEntry(name, method.kind, method.summary, config=method.config_class())
    config, path = read_model(name)
    if name in METHODS:
        return _describe_network(name, method.summary, "ours" if path.is_file() else "none", config, path)
    weights: Weights = "imported" if config.card.file else "trained" if path.is_file() else "none"
    return _describe_network(model_label(name), _summary_of(config), weights, config, path)


def list_all_settings(entry: ModelEntry) -> Iterator[Setting]:
    """The settings that ``--set`` takes for a method, for a network including those of its architecture."""
    if not isinstance(entry.config, ModelConfig):
        yield from list_settings(entry.config) if entry.config else ()
        return
    model = entry.config
    yield from (one for one in list_settings(model) if one.key.partition(".")[0] not in NOT_SETTABLE)
    architecture = _architecture_class(model.network).parse(model.architecture, where=entry.name)
    yield from list_settings(architecture, ARCHITECTURE)


def _imported(path: Path) -> ModelEntry:
    """An imported file; damage of one does not hide the others."""
    try:
        return describe_model(str(path))
    except CineReconError as error:
        return ModelEntry(path.stem, "deep", error.what, "damaged", path)


def _summary_of(config: ModelConfig) -> str:
    return METHODS[config.network].summary if config.network in METHODS else config.network


def _describe_network(name: str, summary: str, weights: Weights, config: ModelConfig, path: Path) -> ModelEntry:
    n_parameters = _count_parameters(config)
    return ModelEntry(
        name, "deep", summary, weights, None if weights == "none" else path, n_parameters, config.card, config
    )


def _count_parameters(config: ModelConfig) -> int:
    """Number of learned parameters: that on the card, which is written with the weights, or else of the network."""
    if config.card.n_parameters is not None:
        return config.card.n_parameters
    return networks.count_parameters_of(config.network, config.architecture)


def _architecture_class(network: str) -> type[Config]:
    """The class of the settings of a network; only for code from outside the package the network is imported."""
    return networks.load_network(network)[0] if is_external(network) else networks.find_network(network).config_class
