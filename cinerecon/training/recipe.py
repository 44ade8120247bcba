"""The recipe of a training: network, data, loss and optimizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cinerecon.config import Config, read_yaml
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.methods.model_file import RECIPE, ModelConfig, find_model, with_located_code
from cinerecon.methods.table import METHODS
from cinerecon.options import Loss
from cinerecon.training.data.config import DataConfig, PreparedSource, SeriesSource

Decay = Annotated[float, Field(ge=0, lt=1)]


class SsduConfig(Config):
    """Split of the samples for training without a reference (Yaman et al. 2020, doi:10.1002/mrm.28378)."""

    loss_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="fraction of the samples on which the loss is computed, selected again in each step; 0.4 in the "
        "paper",
    )
    seen_weight: float = Field(
        default=1.0, ge=0, description="weight of the loss on the samples that the network receives"
    )
    validation_share: float = Field(
        default=0.1, gt=0, lt=1, description="fraction of the samples of a scan that is used only for validation"
    )


class TrainConfig(Config):
    """Optimizer, learning rate, loss, validation and data of a training."""

    renamed: ClassVar[Mapping[str, str]] = {
        "average": "ema_decay",
        "decay": "lr_decay",
        "divergence": "divergence_factor",
    }

    n_steps: int = Field(default=10_000, ge=1, description="number of optimiser steps")
    batch_size: int = Field(default=1, ge=1, description="batch size: number of strips per batch, see data.n_windows")
    n_batches: int = Field(
        default=1,
        ge=1,
        description="number of batches whose gradients are averaged in a step (gradient accumulation), in each process",
    )
    n_steps_per_epoch: int = Field(
        default=500, ge=1, description="number of steps that count as an epoch, since data are generated continuously"
    )

    optimizer: Literal["adam", "adamw", "muon"] = Field(
        default="adam",
        description="optimiser: Adam, AdamW, or Muon for the weights of hidden layers and AdamW for all others",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.999), description="decay rates of the moments of the optimiser")
    epsilon: float = Field(default=1e-8, gt=0, description="epsilon of the optimiser; 1e-7 in Keras")
    reset_each_epoch: bool = Field(
        default=False, description="reset the moments after each epoch, as some published programs do"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="maximum learning rate of the schedule")
    schedule: Literal["cosine", "exponential", "constant"] = Field(
        default="cosine", description="learning rate schedule"
    )
    lr_decay: float = Field(
        default=0.95, gt=0, le=1, description="exponential schedule: factor on the learning rate per epoch"
    )
    n_warmup: int = Field(default=200, ge=0, description="number of linear warm-up steps")
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="maximum norm of the gradient, for gradient clipping; null: no clipping"
    )
    ema_decay: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the exponential moving average of the weights; 0: no averaging"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="precision of convolutions in training; auto: bfloat16 if the device computes faster in it, "
        "otherwise float32; transforms and shrinkage use float32",
    )

    loss: Loss = Field(
        default="mse",
        description="mse: mean squared error; rmse: its square root per patch; log: its logarithm per patch, i.e. the "
        "PSNR; ssdu: error of withheld samples, without a reference",
    )
    ssdu: SsduConfig = Field(default_factory=SsduConfig, description="settings of the loss ssdu")
    symmetry_weight: float = Field(
        default=0.0, ge=0, description="weight of the symmetry loss of the transform (SLR-Net: 0.01)"
    )
    ssim_weight: float = Field(default=0.0, ge=0, description="weight of 1 - SSIM of the magnitude")
    high_frequency_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the squared k-space error weighted by squared spatial frequency",
    )
    divergence_factor: float = Field(
        default=50.0,
        gt=1,
        allow_inf_nan=True,
        description="stop when the mean loss exceeds its minimum by this factor; .inf: never",
    )

    save_every: int = Field(
        default=250, ge=1, description="number of steps between checkpoints, each with a validation"
    )
    n_validation: int = Field(
        default=8, ge=1, description="number of fixed validation batches, from cases not used for training"
    )
    compared_with: str | None = Field(
        default=None, description="classical method that is evaluated once on the validation batches, for comparison"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of weights, patches, masks and noise")
    licence: str = Field(default="", description="licence of the weights, for the model card")
    data: DataConfig = Field(default_factory=DataConfig, description="training data")

    @model_validator(mode="after")
    def _check_consistency(self) -> "TrainConfig":
        if self.loss == "ssdu" and (self.ssim_weight or self.high_frequency_weight):
            raise ValueError("loss ssdu has no reference image, so ssim_weight and high_frequency_weight must be 0")
        return self


class Recipe(ModelConfig):
    """A model and its training: the content of ``model.yaml`` and of the file specified there for `training`."""

    training: TrainConfig = Field(default_factory=TrainConfig, description="training settings")


def find_recipe(name: str) -> Path:
    """Find the ``model.yaml`` for a path, its folder, or the name of a network included in the package.

    Raises
    ------
    ConfigError
        If there is none, with the nearest name as a hint.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = find_model(name)
    if folder and (folder / RECIPE).is_file():
        return folder / RECIPE
    what = f"there is no {RECIPE} in this folder" if path.is_dir() else f"there is no recipe '{name}'"
    hint = nearest_name(name, [method.name for method in METHODS.values() if method.kind == "deep"])
    raise ConfigError(what, where=f"{name}, the recipe", hint=hint)


def read_recipe(path: AnyPath, settings: Sequence[str] = ()) -> Recipe:
    """Read ``model.yaml`` and apply ``key=value`` settings.

    The value of `training` may be the path of a file shared by several models, relative to that of ``model.yaml``.

    Raises
    ------
    ConfigError
        If the file is missing, a key is unknown or a value is wrong.
    """
    path = as_path(path)
    values = read_yaml(path)
    if isinstance(values.get("training"), str):
        values["training"] = read_yaml(path.parent / values["training"])
    recipe = Recipe.parse(values, where=str(path)).with_settings(settings)
    return with_located_code(recipe, path.absolute().parent)


def check_data_options(
    recipe: Recipe, as_written: Recipe, *, series: Sequence[Path] = (), scans: Sequence[Path] = ()
) -> None:
    """Check that all given folders are used, and that a loss without a reference has measured data.

    Parameters
    ----------
    recipe
        The recipe with all options applied.
    as_written
        The recipe as written in its file; a loss ``ssdu`` that is set there applies to the sources of the recipe.
    series
        Folders of measured magnitude cines.
    scans
        Undersampled scans that replace the sources.

    Raises
    ------
    ConfigError
        If an option is missing, or would not be used.
    """
    sources = recipe.training.data.sources.values()
    if series and scans:
        what = "--scan replaces all data sources of the recipe, but --series applies to one of them"
        raise ConfigError(what, where="--scan, --series", hint="leave out one")
    if series and not any(isinstance(source, SeriesSource) and not source.folder for source in sources):
        what = "the recipe has no source of kind series without a folder, so --series would not be used"
        hint = "omit --series, or --set 'training.data.sources.series={kind: series}'"
        if all(isinstance(source, PreparedSource) for source in sources):
            what = "--data replaces all data sources of the recipe, but --series applies to one of them"
            hint = "use only one; to mix them: --set 'training.data.sources.mine={kind: prepared, folder: FOLDER}'"
        raise ConfigError(what, where="--series", hint=hint)
    is_requested = recipe.training.loss == "ssdu" != as_written.training.loss
    if is_requested and not scans and not any(isinstance(source, PreparedSource) for source in sources):
        names = ", ".join(_source_names(recipe))
        what = f"loss ssdu trains on undersampled scans, but none is given: the recipe has only {names}"
        hint = "--scan SCAN or --scan FOLDER; to train on simulated cines in this way, write loss: ssdu in the recipe"
        raise ConfigError(what, where="--loss ssdu", hint=hint)


def _source_names(recipe: Recipe) -> list[str]:
    """Names and kinds of the sources of a recipe."""
    return [f"{name} ({source.kind})" for name, source in recipe.training.data.sources.items()]
