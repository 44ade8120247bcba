"""The places of models: shipped with the package, imported, or named by their path."""

import os
from pathlib import Path

from cinerecon.errors import WeightsError

MODEL_ENDING = ".safetensors"
"""Suffix of a model in one file: weights, with the recipe in the metadata."""


def models_folder() -> Path:
    """The folder of the shipped recipes and weights: inside the package, or in its source tree.

    Raises
    ------
    WeightsError
        If it is missing from the installation.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise WeightsError("the folder of trained models is missing", where=str(package), hint="install cinerecon again")


def imported_folder() -> Path:
    """The folder of imported models: ``$CINERECON_MODELS``, or ``~/.local/share/cinerecon/models``."""
    chosen = os.environ.get("CINERECON_MODELS")
    return Path(chosen) if chosen else Path.home() / ".local/share/cinerecon/models"


def imported_models() -> list[Path]:
    """The models imported so far."""
    return sorted(imported_folder().glob(f"*{MODEL_ENDING}"))


def find_model(name: str) -> Path | None:
    """The path of a model, given a file, a folder, or the name of a shipped or imported model, or None."""
    path = Path(name)
    if (path.suffix == MODEL_ENDING and path.is_file()) or (path / "model.yaml").is_file():
        return path
    shipped, imported = models_folder() / name, imported_folder() / f"{name}{MODEL_ENDING}"
    if imported.is_file() and not shipped.is_dir():
        return imported
    return next((folder for folder in (shipped, path) if folder.is_dir()), None)


def model_label(name: str) -> str:
    """The name of a method in results: without folder and suffix."""
    return Path(name).name.removesuffix(MODEL_ENDING)
