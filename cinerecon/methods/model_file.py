"""A model on disk: network, settings, weights and model card.

A model is either a folder with the recipe ``model.yaml`` and ``weights.safetensors``, or a single safetensors file with
the weights. The metadata of such a file contain the recipe (one text per key of ``model.yaml``, with lists and mappings
as JSON), the lines of the card, and the checksum of the weights.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field
from safetensors import SafetensorError, safe_open

from cinerecon.config import Config, read_yaml
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.external import class_name, is_external, located, portable
from cinerecon.io.untrusted import refuse_pipe
from cinerecon.methods.card import Card

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL_ENDING = ".safetensors"
"""Suffix of a model in a single file."""
RECIPE = "model.yaml"
WEIGHTS = "weights.safetensors"
CHECKSUM = "weights_sha256"
METHOD_NAME = "name of the method"
"""Where the name of a method is wrong: in an option, an argument, a recipe or a call."""

ScaleName = Literal["brightness", "max", "kspace_max"]
"""Rules for the scale by which data are divided, see `methods.normalisation`."""


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
    """The files of the imported models, sorted by name."""
    return sorted(imported_folder().glob(f"*{MODEL_ENDING}"))


def find_model(name: str) -> Path | None:
    """The path of a model: a file, a folder, or the name of a shipped or imported model; None if there is none."""
    path = Path(name)
    if (path.suffix == MODEL_ENDING and path.is_file()) or (path / RECIPE).is_file():
        return path
    shipped, imported = models_folder() / name, imported_folder() / f"{name}{MODEL_ENDING}"
    if imported.is_file() and not shipped.is_dir():
        return imported
    return next((folder for folder in (shipped, path) if folder.is_dir()), None)


def model_label(name: str) -> str:
    """The name of a method in results: without folder and suffix, or the name of a class in a Python file."""
    if is_external(name):
        return class_name(name)
    return Path(name).name.removesuffix(MODEL_ENDING)


class InitialMethodConfig(Config):
    """The method whose image an unrolled network starts from."""

    method: str = Field(description="a classical method, or a class in a Python file")
    settings: tuple[str, ...] = Field(default=(), description="settings of the method, as key=value strings")


class ModelConfig(Config):
    """A network with its settings: the part of ``model.yaml`` that a reconstruction requires."""

    renamed: ClassVar[Mapping[str, str]] = {
        "start": "initial_method",
        "intake": "preprocessing",
        "zeroed": "zeroed_parameters",
    }

    network: str = Field(description="name of the network, or a class in a Python file next to it: mynet.py:MyNet")
    code_sha256: str | None = Field(
        default=None,
        description="SHA-256 of the code from outside the package with which the weights were trained; any: not "
        "compared",
    )
    architecture: dict[str, Any] = Field(default_factory=dict, description="settings of the network")
    scale: ScaleName = Field(
        default="brightness", description="rule for the factor by which data are divided, as in training"
    )
    initial_method: InitialMethodConfig | None = Field(
        default=None, description="method that computes the initial image; null: the zero-filled image"
    )
    demodulate: bool = Field(default=False, description="remove the temporal mean phase of the initial image")
    phase_smoothing: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of the Gaussian with which the removed phase is smoothed [pixels]",
    )
    precision: Literal["auto", "float32"] = Field(
        default="auto",
        description="precision of convolutions in reconstruction; auto: bfloat16 if it is faster and accurate, "
        "otherwise float32",
    )
    reduce_noise: bool = Field(
        default=True,
        description="reduce noise of more than twice the largest in training with k-t SLR before the network",
    )
    coils_at_once: int | None = Field(
        default=None,
        ge=1,
        description="number of coils transformed at a time in reconstruction; null: a few on a CPU, all on a GPU",
    )
    preprocessing: dict[str, Any] = Field(
        default_factory=dict, description="preprocessing settings with which the training data were prepared"
    )
    training: Any = Field(default=None, description="training settings")
    zeroed_parameters: tuple[str, ...] = Field(
        default=(), description="for ablations: parameters set to zero, given by the last component of their name"
    )
    card: Card = Field(default_factory=Card, description="model card of the weights")


M = TypeVar("M", bound=ModelConfig)


def read_model(source: str | Path) -> tuple[ModelConfig, Path]:
    """Read the recipe of a model, and find the file of its weights, which may not exist.

    Parameters
    ----------
    source
        Name of a shipped or imported model, path of a model file, of a model folder or of a run folder.

    Raises
    ------
    ConfigError
        If the recipe is missing or wrong.
    WeightsError
        If a model file is damaged.
    """
    path = find_model(str(source))
    if path is None:
        raise ConfigError(f"there is no model '{source}'", where=METHOD_NAME)
    if path.is_dir():
        if not (path / RECIPE).is_file():
            hint = "give the folder of a model, or that of a training run"
            raise ConfigError(f"there is no {RECIPE} in this folder", where=str(path), hint=hint)
        config, weights = ModelConfig.parse(read_yaml(path / RECIPE), where=str(path / RECIPE)), path / WEIGHTS
        config = with_located_code(config, path)
        if config.card == Card() and weights.is_file():  # a run folder: its card comes with the weights
            config = config.model_copy(update={"card": read_card(weights)})
        return config, weights
    config = from_metadata(read_metadata(path), where=str(path))
    for kind, name in external_names(config).items():
        if name != portable(name):  # weights must not run other files
            hint = "give the folder of the model, and this file with --weights"
            raise ConfigError(f"the {kind} '{name}' is not in the folder of the weights", where=str(path), hint=hint)
    return with_located_code(config, path.parent), path


def with_located_code(config: M, folder: Path) -> M:
    """The model with the full paths of its code from outside the package, which are relative to a folder."""
    return _with_names(config, lambda name: located(name, folder))


def with_portable_code(config: M) -> M:
    """The model without the paths of its code from outside the package, for a folder with copies of the code."""
    return _with_names(config, portable)


def _with_names(config: M, change: Callable[[str], str]) -> M:
    values: dict[str, Any] = {"network": change(config.network)}
    if config.initial_method is not None:
        name = change(config.initial_method.method)
        values["initial_method"] = config.initial_method.model_copy(update={"method": name})
    return config.model_copy(update=values)


def external_names(config: ModelConfig) -> dict[str, str]:
    """The names of the network and of the initial method, without those of the package."""
    names = {"network": config.network}
    if config.initial_method is not None:
        names["initial method"] = config.initial_method.method
    return {kind: name for kind, name in names.items() if is_external(name)}


def to_metadata(config: ModelConfig) -> dict[str, str]:
    """The recipe as texts by name; settings with default values are omitted."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    values |= values.pop("card", {})
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def from_metadata(texts: Mapping[str, str], *, where: str = "") -> ModelConfig:
    """The recipe from the texts of `to_metadata`.

    Raises
    ------
    WeightsError
        If the texts contain no recipe.
    ConfigError
        If the recipe is wrong.
    """
    if "network" not in texts:
        hint = "give the folder of its recipe, or this file with --weights"
        raise WeightsError("the file contains weights without a recipe", where=where, hint=hint)
    known = (*ModelConfig.model_fields, *ModelConfig.renamed)
    try:
        values = {name: _plain(texts[name]) for name in known if name in texts}
    except json.JSONDecodeError as error:
        raise WeightsError(f"the recipe in the file is damaged: {error}", where=where) from None
    return ModelConfig.parse({**values, "card": _read_card(texts, where).model_dump()}, where=where)


def read_card(path: Path) -> Card:
    """The card in a file of weights; empty if there is none.

    Raises
    ------
    WeightsError
        If the file is damaged.
    """
    return _read_card(read_metadata(path), str(path))


def _read_card(texts: Mapping[str, str], where: str) -> Card:
    """The card in the metadata of a file; values that are not texts are JSON.

    Earlier cards do not contain the noise, which is also a setting of the training.
    """
    is_text = {name: field.annotation is str for name, field in Card.model_fields.items()}
    try:
        values = {n: text if is_text.get(Card.present_name(n), True) else json.loads(text) for n, text in texts.items()}
        training = _plain(texts.get("training", ""))
        data = training.get("data") if isinstance(training, Mapping) else None
        noise = data.get("noise") if isinstance(data, Mapping) else None
        return Card.from_values({"noise": noise, **values})
    except json.JSONDecodeError as error:
        raise WeightsError(f"the card in the file is damaged: {error}", where=where) from None


def _plain(text: str) -> Any:
    """A list or mapping from JSON; other texts are unchanged."""
    return json.loads(text) if text[:1] in ("{", "[") else text


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file."""
    refuse_pipe(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read the model: {error}", where=str(path), hint="download the file again") from None


def require_weights(config: ModelConfig, path: Path, name: str) -> Path:
    """The file of the weights of a model, which must exist.

    Raises
    ------
    WeightsError
        If it does not exist; the hint describes how to obtain weights.
    """
    if path.is_file():
        return path
    imported = [other.stem for other in imported_models() if read_metadata(other).get("network") == config.network]
    hint = f"train them: cinerecon train {path.with_name(RECIPE)}; or cinerecon models import, if you have the authors'"
    if imported:
        hint = f"imported weights are available: --model {' or '.join(imported)}"
    raise WeightsError(f"there are no weights for {name} yet", where=str(path), hint=hint)


def write_model(path: Path, weights: "Mapping[str, Tensor]", config: ModelConfig) -> None:
    """Write weights with their recipe, card and checksum to one file."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = save(tensors, {**to_metadata(config), CHECKSUM: hash_weights(tensors)})
    path.write_bytes(content)  # `save_file` would write a file that other users cannot read


def hash_weights(weights: "Mapping[str, Tensor]") -> str:
    """SHA-256 of all tensors, with their names and shapes."""
    import torch

    total = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def load_weights(net: "nn.Module", path: Path) -> None:
    """Read weights into a network.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or a tensor is missing, unknown, or of another shape.
    """
    from safetensors.torch import load_file

    refuse_pipe(path)
    if path.is_dir():
        raise WeightsError("this is a folder, expected weights", where=str(path), hint=f"{path / WEIGHTS}")
    if not path.exists():
        raise WeightsError("cannot read weights: there is no such file", where=str(path))
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "give a .safetensors file, or download this one again"
        raise WeightsError(f"cannot read weights: {error}", where=str(path), hint=hint) from None
    checksum = read_metadata(path).get(CHECKSUM)
    if checksum and checksum != hash_weights(tensors):
        raise WeightsError("the checksum of the weights is wrong", where=str(path), hint="download the file again")
    load_tensors(net, tensors, where=str(path), hint="use weights that were trained with this recipe")


def load_tensors(net: "nn.Module", weights: "Mapping[str, Tensor]", *, where: str = "", hint: str = "") -> None:
    """Load tensors into a network; names and shapes must agree.

    Raises
    ------
    WeightsError
        If a tensor is missing, unknown, or of another shape.
    """
    expected = net.state_dict()
    for name in [*expected, *weights]:
        shapes = [tuple(tensors[name].shape) if name in tensors else None for tensors in (expected, weights)]
        if shapes[0] != shapes[1]:
            known = [str(shape) if shape is not None else "none" for shape in shapes]
            message = f"weight '{name}': the recipe has {known[0]}, the file {known[1]}"
            raise WeightsError(message, where=where, hint=hint)
    net.load_state_dict(weights)
