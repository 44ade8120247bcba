"""Settings of the training data: sources of cases, and patches drawn from them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator

from cinerecon.config import Config, Interval
from cinerecon.physics.sampling import parse_sampling
from cinerecon.simulation.phantom import PhaseConfig
from cinerecon.training.data.augment import AugmentConfig
from cinerecon.training.data.deform import DeformConfig

T = TypeVar("T")


def _with_weights(values: Any) -> Any:
    """A mapping from choices to weights; a list has equal weights, and a single value is always chosen."""
    if isinstance(values, dict):
        return values
    listed = values if isinstance(values, list | tuple) else [values]
    if not all(isinstance(value, str | int | float) for value in listed):
        raise ValueError("expected a choice, a list of choices, or a mapping of choices to weights")
    return {value: listed.count(value) for value in listed}


Weighted = Annotated[dict[T, PositiveFloat], BeforeValidator(_with_weights), Field(min_length=1)]
"""Choices and their weights, which need not sum to 1."""


class SimulatedSource(Config):
    """Cases whose phase and coils are simulated."""

    weight: PositiveFloat = Field(default=1.0, description="proportion of patches, relative to the other sources")
    matrix: tuple[PositiveInt, PositiveInt] = Field(default=(192, 192), description="image size (y, x)")
    n_coils: int = Field(
        default=8, ge=1, description="number of coils of each case; single-coil patches use the image itself"
    )
    mask: str = Field(default="gaussian:8", description="sampling pattern for the estimation of coil maps")
    seed: int = Field(default=0, ge=0, description="seed of the simulation")
    phase: PhaseConfig = Field(default_factory=PhaseConfig, description="variation of the simulated phase")


class PhantomSource(SimulatedSource):
    """Beating-heart phantoms, each drawn with its own seed."""

    kind: Literal["phantom"] = "phantom"
    n_cases: int = Field(default=120, ge=1, description="number of different phantoms")
    keep: bool = Field(
        default=True,
        description="store each phantom in a file when it is first simulated; otherwise it is simulated for every "
        "patch",
    )


def _several(value: Any) -> Any:
    """A list of the values: a single value becomes a list of one, None an empty list."""
    return [] if value is None else value if isinstance(value, list | tuple) else [value]


class SeriesSource(SimulatedSource):
    """Measured magnitude cines, deformed and with simulated phase; each subject contributes equally many patches."""

    kind: Literal["series"] = "series"
    folder: Annotated[tuple[Path, ...], BeforeValidator(_several)] = Field(
        default=(),
        description="folders of magnitude cines: DICOM, NIfTI, NumPy archives; if empty, those of --series",
    )
    n_variants: int = Field(default=12, ge=1, description="number of augmented variants of each series")
    leave_out: tuple[str, ...] = Field(
        default=(), description="series to exclude: patterns of names, e.g. patient001_4d_slice03"
    )
    validation: tuple[str, ...] = Field(
        default=(), description="series used only for validation: patterns, as for leave_out"
    )
    reserved: tuple[str, ...] = Field(
        default=("report/*", "sax_mid", "lax_4ch"),
        description="series on which results are reported, by folder and name: these must be excluded from training",
    )
    deform: DeformConfig = Field(default_factory=DeformConfig, description="augmentation of the variants")


class PreparedSource(Config):
    """Cases written by ``cinerecon prepare``."""

    kind: Literal["prepared"] = "prepared"
    weight: PositiveFloat = Field(default=1.0, description="proportion of patches, relative to the other sources")
    folder: Path = Field(description="folder with an index.csv")
    signal: Literal["measured", "combined"] = Field(
        default="measured",
        description="source of the coil images: as measured, or the combined image multiplied by the coil maps",
    )


Source = Annotated[PhantomSource | SeriesSource | PreparedSource, Field(discriminator="kind")]


class DataConfig(Config):
    """Settings of batches. If several choices are given, each batch draws one of them according to their weights."""

    renamed: ClassVar[Mapping[str, str]] = {
        "n_kept": "n_cached_batches",
        "n_frames_of_kept": "n_cached_frames",
        "noise_free": "p_noise_free",
    }

    sources: dict[str, Source] = Field(
        default={"phantom": PhantomSource()}, min_length=1, description="data sources by name"
    )
    crops: Weighted[str] = Field(
        default={"128x32": 1, "160x32": 1, "192x32": 1}, description="patch size, rows x columns; either may be 'all'"
    )
    crops_2d: Weighted[str] | None = Field(
        default=None,
        description="patch size for patterns that do not sample whole readouts, which would change if a strip were "
        "cut out",
    )
    n_frames: int | None = Field(
        default=12, ge=1, description="number of consecutive (cyclic) frames of a patch; null: all frames"
    )
    frame_steps: Weighted[PositiveInt] = Field(
        default={1: 2, 2: 1}, description="step between frames; with 2, the same number of frames covers two beats"
    )
    n_windows: int = Field(
        default=2, ge=1, description="number of consecutive temporal windows taken from each undersampled strip"
    )
    coils: Weighted[PositiveInt | Literal["all"]] = Field(
        default={1: 1, 8: 1}, description="numbers of coils; 1: the combined image"
    )
    masks: Weighted[str] = Field(
        default={"gaussian:8": 1}, description="sampling patterns; a new mask is generated for each strip"
    )
    noise: Interval = Field(
        default=(0.002, 0.06),
        description="range of the noise standard deviation of a sample for images of unit scale, log-uniformly "
        "distributed",
    )
    p_noise_free: float = Field(default=0.25, ge=0, le=1, description="fraction of strips without added noise")
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="augmentation")
    n_cached_batches: int | None = Field(
        default=None,
        ge=1,
        description="number of batches to store in files and use repeatedly; null: new batches throughout",
    )
    n_cached_frames: int | None = Field(
        default=None,
        ge=1,
        description="number of consecutive frames of a stored batch used in a step, different each time; null: all "
        "frames",
    )

    @field_validator("crops", "crops_2d")
    @classmethod
    def _crops_can_be_read(cls, crops: dict[str, float] | None) -> dict[str, float] | None:
        for text in crops or ():
            parse_crop(text)
        return crops

    @field_validator("masks")
    @classmethod
    def _masks_can_be_read(cls, masks: dict[str, float]) -> dict[str, float]:
        for text in masks:
            parse_sampling(text)
        return masks


def parse_crop(text: str) -> tuple[int | None, int | None]:
    """Rows and columns of a text such as ``128x24``, ``allx24`` or ``all``; None means all.

    Raises
    ------
    ValueError
        If the text is not of this form.
    """
    match = re.fullmatch(r"(all|[1-9]\d*)(?:x(all|[1-9]\d*))?", text.replace(" ", ""))
    if not match or (match[2] is None and match[1] != "all"):
        raise ValueError(f"'{text}' is not a crop; write e.g. 128x24, allx24 or all")
    rows, columns = (None if part in (None, "all") else int(part) for part in match.groups())
    return rows, columns
