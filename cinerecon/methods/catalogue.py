"""The list of methods and trained models, with the cards of their weights and the settings of ``--set``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from cinerecon import networks
from cinerecon.config import Config
from cinerecon.errors import CineReconError
from cinerecon.external import code_file, is_external
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ModelConfig, imported_models, model_label, read_model
from cinerecon.methods.table import METHODS, find_method

TYPE_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}
BOUNDS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
Weights = Literal["", "shipped", "trained", "imported", "none", "damaged"]

ARCHITECTURE = "architecture."
"""Prefix of the settings that the weights depend on."""
NOT_SETTABLE = ("network", "architecture", "card", "training")
"""Parts of a model file that cannot be set, since they describe its weights."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes
    ----------
    key
        Name of the setting for ``--set``, with dots between nested settings.
    type
        The permitted values, in words.
    value
        Its current value, as YAML.
    help
        Description of the setting.
    """

    key: str
    type: str
    value: str
    help: str


def list_settings(config: Config, prefix: str = "") -> Iterator[Setting]:
    """The settings of a configuration with their current values; keys of nested configurations contain dots."""
    for name, definition in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from list_settings(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value, default=_plain, ensure_ascii=False)
            yield Setting(prefix + name, type_in_words(definition), text.strip('"'), definition.description or "")


def type_in_words(definition: FieldInfo) -> str:
    """The permitted values of a setting in words, e.g. ``whole number ≥ 1 or null``."""
    bounds = "".join(
        f" {sign} {getattr(limit, name):g}"
        for limit in definition.metadata
        for kind, (sign, name) in BOUNDS.items()
        if isinstance(limit, kind)
    )
    first, *others = _alternatives(definition.annotation)
    return " or ".join([first + bounds, *others])


def _alternatives(annotation: Any) -> list[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(inner[0])
    if origin in (Union, UnionType):
        return [text for inner_type in inner for text in _alternatives(inner_type)]
    if origin is Literal:
        return [str(value) for value in inner]
    if origin in (tuple, list):
        parts = dict.fromkeys(
            text for inner_type in inner if inner_type is not ... for text in _alternatives(inner_type)
        )
        return [f"list of {' or '.join(parts)}"]
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, Mapping | Config)):
        return ["mapping"]
    return [TYPE_NAMES.get(annotation, "any value")]


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Config) else str(value)


@dataclass(frozen=True)
class ModelEntry:
    """A method or an imported model.

    Attributes
    ----------
    name, kind, summary
        As in the table of methods.
    weights
        ``shipped``: included in the package; ``trained``: from a run folder; ``imported``; ``none``: the network has
        not been trained yet; ``damaged``: the file cannot be read; empty for classical methods.
    path
        File of the weights, or of the code of a classical method from outside the package; None if there is neither.
    n_parameters
        Number of learned parameters.
    card
        The card of the weights.
    config
        The settings without ``--set``; None if the file is damaged.
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
    """The entry of the method or model that ``--model`` names.

    Raises
    ------
    ConfigError
        If there is no such method or model, with the nearest name as a hint.
    WeightsError
        If its file is damaged.
    """
    method = find_method(name)
    if method.kind == "classical":
        path = code_file(name) if is_external(name) else None
        return ModelEntry(model_label(name), method.kind, method.summary, path=path, config=method.config_class())
    config, path = read_model(name)
    if name in METHODS:
        return _describe_network(name, method.summary, "shipped" if path.is_file() else "none", config, path)
    weights: Weights = "imported" if config.card.file else "trained" if path.is_file() else "none"
    return _describe_network(model_label(name), _summary_of(config), weights, config, path)


def list_all_settings(entry: ModelEntry) -> Iterator[Setting]:
    """The settings that ``--set`` accepts for a method; for a network, these include its architecture."""
    if not isinstance(entry.config, ModelConfig):
        yield from list_settings(entry.config) if entry.config else ()
        return
    model = entry.config
    yield from (setting for setting in list_settings(model) if setting.key.partition(".")[0] not in NOT_SETTABLE)
    architecture = _architecture_class(model.network).parse(model.architecture, where=entry.name)
    yield from list_settings(architecture, ARCHITECTURE)


def _imported(path: Path) -> ModelEntry:
    """The entry of an imported file; a damaged file is listed as such and does not stop the listing."""
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
    """Number of learned parameters according to the card, which is written with the weights, or else to the network."""
    if config.card.n_parameters is not None:
        return config.card.n_parameters
    return networks.count_parameters_of(config.network, config.architecture)


def _architecture_class(network: str) -> type[Config]:
    """The class of the settings of a network; the network itself is imported only if it is external code."""
    return networks.load_network(network)[0] if is_external(network) else networks.find_network(network).config_class
