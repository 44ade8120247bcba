"""List the methods, and what is there of their trained weights."""

import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from cinerecon.errors import WeightsError
from cinerecon.methods.base import models_folder
from cinerecon.methods.table import METHODS


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes
    ----------
    name, kind, summary
        As in the table of methods.
    weights
        Trained weights that come with the program; None for classical methods, and for networks not yet trained.
    n_parameters
        Count of numbers in the weights.
    """

    name: str
    kind: str
    summary: str
    weights: Path | None
    n_parameters: int | None


def list_models() -> list[Entry]:
    """All methods, in the order of the table."""
    entries = []
    for method in METHODS.values():
        weights = models_folder() / method.name / "weights.safetensors"
        found = weights if method.kind == "deep" and weights.is_file() else None
        n_parameters = None if found is None else _count_parameters(found)
        entries.append(Entry(method.name, method.kind, method.summary, found, n_parameters))
    return entries


def _count_parameters(weights: Path) -> int:
    """Count from the header of the file; the weights themselves are not read.

    Raises
    ------
    WeightsError
        If the file is damaged.
    """
    try:
        with safe_open(weights, framework="numpy") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read the weights: {error}", where=str(weights)) from None
