"""Report which models are code from outside the package, before it runs."""

import sys
from collections.abc import Iterable
from pathlib import Path


def announce_models(models: Iterable[str]) -> None:
    """Print the file of each model whose network is code from outside the package."""
    from cinerecon.methods.model_file import external_code, find_model

    for model in models:
        if find_model(model):
            announce_code(external_code(model))


def announce_code(path: Path | None) -> None:
    """Print the file of a network from outside the package; None: the network is one of the package."""
    if path is not None:
        print(f"code     {path} runs: a network from outside the package", file=sys.stderr)
