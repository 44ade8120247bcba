"""Options of commands: one class defines the command line, the Python call and the documentation.

Subclasses of `Options` define type, default and description of each option once. `commands.from_options` creates a
Typer command from such a class, and the library is called with an instance of it.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from cinerecon.config import Config, as_settings
from cinerecon.errors import ConfigError
from cinerecon.memory import parse_size

PREPROCESSING = "preprocessing."
"""Prefix of the settings of ``--set`` that apply to the preprocessing instead of the method."""

CsmMethod = Literal["smooth", "espirit", "walsh"]
"""Methods for the coil maps."""
Loss = Literal["mse", "rmse", "log", "ssdu"]
"""Loss functions of a training."""
PartialFourier = Literal["auto", "pocs", "homodyne", "none"]
"""Ways to fill in the side of k-space that was not measured."""
COMPRESSION: Final = "pca"
"""Default method of coil compression."""
AUTO_LOSS = 0.01
"""Largest fraction of the signal energy that is lost if the number of virtual coils is chosen automatically."""
N_SIMULATED_COILS = 8
"""Default number of coils that are simulated for a magnitude image."""
SPLIT_SHARES = (80.0, 10.0, 10.0)
"""Default shares of the splits train, val and test."""
METHOD: Final = "stvarnet"
"""Default method: the most accurate of the shipped methods."""
DEVICE: Final = "auto"
"""Default device: a GPU if available."""
SEED: Final = 0
"""Default seed of sampling patterns and simulations."""
EVALUATION_WORKERS: Final = 1
"""Default number of processes of an evaluation."""
TRAINING_WORKERS: Final = 0
"""Default number of processes that prepare batches in addition to the training itself."""
REFUSES_UNREALISTIC: Final = False
"""Whether `prepare` by default refuses data that are easier to reconstruct than measured ones."""

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Flag:
    """How a field is given on the command line; without a flag, as ``--field-name``.

    Attributes
    ----------
    names
        Names of the option, e.g. ``("--output", "-o")``.
    is_argument
        Whether the value is given by position, without a name.
    default_text
        Text for the default in the help, if it differs from the default of the field.
    needs
        Fields of which at least one must be set; otherwise this one has no effect, and a changed value is refused.
    excludes
        Fields with which this one has no effect; both together are refused.
    """

    names: tuple[str, ...] = ()
    is_argument: bool = False
    default_text: str = ""
    needs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


class Options(Config):
    """Base class of options; the docstring of a subclass is the help text of its command."""

    @classmethod
    def flag_of(cls, name: str) -> Flag:
        """How a field is given on the command line."""
        return next((item for item in cls.model_fields[name].metadata if isinstance(item, Flag)), Flag())

    @classmethod
    def option_of(cls, name: str) -> str:
        """The name of a field on the command line."""
        names = cls.flag_of(name).names or (f"--{name.replace('_', '-')}",)
        return next((text for text in names if text.startswith("--")), names[0])

    def is_changed(self, name: str) -> bool:
        """Whether the value of an option differs from its default."""
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @model_validator(mode="after")
    def _refuse_changed_without_effect(self) -> Self:
        """Refuse values other than the default that have no effect in this combination."""
        self._refuse_without_effect(filter(self.is_changed, type(self).model_fields))
        return self

    def _refuse_without_effect(self, names: Iterable[str]) -> None:
        for name in names:
            flag, sides = self.flag_of(name), self.option_of(name).split("/")
            option = sides[0 if getattr(self, name) else -1]  # for a switch, the given side
            if flag.needs and not any(map(self.is_changed, flag.needs)):
                others = " or ".join(map(self.option_of, flag.needs))
                raise ConfigError(f"{option} has no effect without {others}", where=option, hint=f"add {others}")
            for other in map(self.option_of, filter(self.is_changed, flag.excludes)):
                raise ConfigError(f"{option} has no effect with {other}", where=option, hint="leave out one")

    @classmethod
    def from_command_line(cls, values: dict[str, Any]) -> "Options":
        """An instance from the given values; several values of an option are a list.

        Raises
        ------
        ConfigError
            If a value is wrong or has no effect, with the name of its option.
        """
        where = f"cinerecon {cls.__name__.removesuffix('Options').lower()}"
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        options = cls.parse(plain, where=where, option_of=cls.option_of)
        options._refuse_without_effect(plain)  # also if a given value is the default
        return options


class MemoryLimit:
    """Base of options with a field ``memory``, which each command describes itself."""

    if TYPE_CHECKING:
        memory: str | None

    @property
    def memory_limit(self) -> int | None:
        """Memory limit [bytes]; None without a limit.

        Raises
        ------
        ConfigError
            If the text is not a size.
        """
        return None if self.memory is None else parse_size(self.memory)


class DeviceOptions(Options):
    """Options of commands that compute."""

    device: str = Field(default=DEVICE, description="device: auto, cpu or cuda")


class ArrayOptions(Options):
    """Description of k-space in an array file (BART, NumPy), which contains little more than the samples."""

    axes: str = Field(
        default="",
        description="axes of the k-space array, e.g. 'frames coils ky kx'; also slices, parts (real and imaginary) "
        "and 1; for .npy, .npz and BART files",
    )
    maps: str | None = Field(default=None, description="coil maps for an array file: BART or .npy")
    pattern: str | None = Field(
        default=None,
        description="sampling mask of an array file: BART or mask.npz; if not given, zeros are treated as not sampled",
    )
    pixel_size: tuple[float, float] | None = Field(
        default=None, description="pixel size of an array file along y and x [mm], e.g. 1.5 1.5"
    )
    frame_time: float | None = Field(default=None, gt=0, description="time between the frames of an array file [ms]")
    oversampling: float | None = Field(default=None, ge=1, description="readout oversampling of an array file, e.g. 2")


class MeasurementOptions(Options):
    """Choice of a measurement in a raw file with several measurements."""

    dataset: str | None = Field(default=None, description="group to read if an ISMRMRD file contains several datasets")
    measurement: int | None = Field(
        default=None, description="measurement to read from a Siemens raw file, counted from 1; by default the last one"
    )


class RawScanOptions(MeasurementOptions):
    """Options for reading a raw scan."""

    noise: Path | None = Field(default=None, description="separate noise scan, ISMRMRD or Siemens raw data")
    gating: Annotated[str | None, Flag(default_text="auto")] = Field(
        default=None,
        description="frames of a raw scan: counter, retro (by the time since the R wave), none (real time) or auto",
    )


class SetOptions(Options):
    """Choice of a set of readouts."""

    set_index: int | None = Field(
        default=None,
        ge=0,
        description="index of the set to read if a scan has several, e.g. 0 or 1 for phase contrast",
    )


class ArchiveOptions(Options):
    """Options of commands that process many scans, one after the other or in shards."""

    lists: Annotated[tuple[Path, ...], Flag(("--list",))] = Field(
        default=(),
        description="text file with one path per line, relative to the folder of the file; same as @list.txt; may be "
        "repeated",
    )
    shard: str | None = Field(
        default=None,
        description="process only shard i of n, e.g. 2/4; cinerecon merge merges the results of all shards",
    )
    submit: Literal["slurm", "local"] | None = Field(
        default=None, description="run all shards as Slurm jobs or as processes on this machine, and merge the results"
    )
    n_shards: Annotated[int, Flag(("--shards",), needs=("submit",))] = Field(
        default=2, ge=1, description="number of shards for --submit"
    )
    job_settings: Annotated[tuple[str, ...], Flag(("--job",), needs=("submit",))] = Field(
        default=(),
        description="job setting, e.g. timeout_min=120, mem_gb=8, slurm_partition=gpu; may be repeated",
    )
    wait: Annotated[bool, Flag(("--wait/--no-wait",), needs=("submit",))] = Field(
        default=True, description="wait for the submitted jobs and merge their results"
    )


def split_settings(settings: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Settings of the method, and settings of the preprocessing without their prefix.

    Raises
    ------
    ConfigError
        If the settings are not a list of texts, or the prefix is misspelt.
    """
    settings = as_settings(settings)
    method = tuple(setting for setting in settings if not setting.startswith(PREPROCESSING))
    for setting in method:
        prefix, dot, key = setting.partition(".")
        if dot and difflib.get_close_matches(prefix, [PREPROCESSING], cutoff=0.8):
            hint = f"did you mean '{PREPROCESSING}{key}'?"
            raise ConfigError(f"unknown setting '{setting}'", where="--set", hint=hint)
    preprocessing = (setting for setting in settings if setting.startswith(PREPROCESSING))
    return method, tuple(setting.removeprefix(PREPROCESSING) for setting in preprocessing)


def with_options(config: C, options: Options, keys: Mapping[str, str]) -> C:
    """A copy of a configuration with the values of the options that are given.

    Parameters
    ----------
    config
        The configuration.
    options
        The options.
    keys
        Settings of the configuration by the fields of the options.

    Raises
    ------
    ConfigError
        If a value is wrong, with the name of its option.
    """
    for name, key in keys.items():
        value = getattr(options, name)
        if value is not None:
            config = config.with_settings([f"{key}={value}"], where=options.option_of(name))
    return config


def with_preprocessing(config: C, settings: Sequence[str]) -> C:
    """A copy of the preprocessing with the settings of ``--set`` applied, all of which begin with ``preprocessing.``.

    Raises
    ------
    ConfigError
        If there is a setting without this prefix, or a key or value is wrong.
    """
    others, preprocessing = split_settings(settings)
    if others:
        raise ConfigError(f"unknown setting '{others[0]}'", where="--set", hint=f"--set {PREPROCESSING}{others[0]}")
    return config.with_settings(preprocessing, where="--set preprocessing")
