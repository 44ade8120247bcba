"""List the methods, and what is there of their trained weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from cinerecon import networks
from cinerecon.errors import CineReconError
from cinerecon.methods.base import imported_models
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ModelConfig, read_model
from cinerecon.methods.table import METHODS

Weights = Literal["", "ours", "imported", "none", "damaged"]


@dataclass(frozen=True)
class Entry:
    """One method, or one imported model.

    Attributes
    ----------
    name, kind, summary
        As in the table of methods.
    weights
        ``ours``: they come with the program; ``imported``; ``none``: a network not yet trained; ``damaged``: a file
        that cannot be read; empty for classical methods.
    path
        Where weights are, if there are any.
    n_parameters
        Count of learned numbers.
    card
        What a user should know of the weights.
    """

    name: str
    kind: str
    summary: str
    weights: Weights = ""
    path: Path | None = None
    n_parameters: int | None = None
    card: Card = field(default_factory=Card)


def list_models() -> list[Entry]:
    """All methods in the order of the table, then the imported models."""
    entries = []
    for method in METHODS.values():
        if method.kind == "classical":
            entries.append(Entry(method.name, method.kind, method.summary))
            continue
        config, path = read_model(method.name)
        entries.append(_deep(method.name, method.summary, "ours" if path.is_file() else "none", config, path))
    return entries + [_imported(path) for path in imported_models()]


def _imported(path: Path) -> Entry:
    """An imported file; damage of one does not hide the others."""
    try:
        config, _ = read_model(path)
        summary = METHODS[config.network].summary if config.network in METHODS else config.network
        return _deep(path.stem, summary, "imported", config, path)
    except CineReconError as error:
        return Entry(path.stem, "deep", error.what, "damaged", path)


def _deep(name: str, summary: str, weights: Weights, config: ModelConfig, path: Path) -> Entry:
    n_parameters = _count_parameters(config)
    return Entry(name, "deep", summary, weights, None if weights == "none" else path, n_parameters, config.card)


def _count_parameters(config: ModelConfig) -> int:
    """Learned numbers of an architecture; nothing is allocated for them."""
    with torch.device("meta"):
        net = networks.build(config.network, config.architecture)
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
