"""Settings of the preparation, which are stored with the cases and in each case."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.archives.case_index import SPLITS
from cinerecon.config import Config, SettingsError
from cinerecon.errors import ConfigError
from cinerecon.io.case import VERSION
from cinerecon.options import N_SIMULATED_COILS, REFUSES_UNREALISTIC, SEED, SPLIT_SHARES, CsmMethod

Patch = tuple[int, int, int]
COMBINING_MAPS: dict[str, CsmMethod] = {"adaptive": "walsh", "espirit": "espirit", "smooth": "smooth"}
"""The type of coil maps that each choice of `combine` uses to combine the coils."""


class PrepareConfig(Config):
    """Settings of the preparation of cases."""

    renamed: ClassVar[Mapping[str, str]] = {"person": "subject", "intake": "preprocessing"}

    preprocessing: AcquisitionConfig = Field(default=AcquisitionConfig(), description="preprocessing of raw readouts")
    combine: Literal["adaptive", "espirit", "smooth"] | None = Field(
        default=None,
        description="combine the coils with these maps before undersampling: the single-coil setting of the papers",
    )
    frames: int | None = Field(
        default=None, ge=1, description="number of frames to keep, starting from the first; null: all"
    )
    readout: int | None = Field(default=None, ge=1, description="number of central columns to keep")
    crop: tuple[int, int] | None = Field(default=None, description="number of central rows and columns to keep")
    patches: tuple[Patch, ...] = Field(default=(), description="sizes (frames, y, x) of the patches to extract")
    stride: Patch | None = Field(default=None, description="stride between patches (frames, y, x); null: half a patch")
    simulated_coils: int = Field(
        default=N_SIMULATED_COILS, ge=1, le=128, description="number of coils simulated for magnitude images"
    )
    seed: int = Field(default=SEED, ge=0, description="seed of the simulation")
    subject: str = Field(default="", description="regular expression that matches the name of the subject in the path")
    split: tuple[float, float, float] = Field(default=SPLIT_SHARES, description="fractions of train, val and test")
    strict: bool = Field(
        default=REFUSES_UNREALISTIC,
        description="refuse data that are easier to reconstruct than measured data, instead of marking them",
    )

    @field_validator("subject")
    @classmethod
    def _is_pattern(cls, subject: str) -> str:
        try:
            re.compile(subject)
        except re.error as error:
            raise ValueError(f"not a regular expression, {error}") from None
        return subject

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        sizes = {"patches": self.patches, "stride": (self.stride or (),), "crop": (self.crop or (),)}
        for name, parts in sizes.items():
            if any(size < 1 for part in parts for size in part):
                raise SettingsError("sizes and strides must be at least 1", name)
        if min(self.split) < 0 or sum(self.split) <= 0:
            raise SettingsError("shares must not be negative, and not all zero", "split")
        if self.stride and not self.patches:
            raise SettingsError("a stride needs a patch", "stride")
        if self.crop and self.readout:
            raise SettingsError("the image is cut by crop or by readout, not by both", "crop", "readout")
        return self

    @property
    def maps(self) -> AcquisitionConfig:
        """Preprocessing settings with the maps that are used to combine the coils, if they are combined."""
        if self.combine is None:
            return self.preprocessing
        return self.preprocessing.model_copy(update={"csm": COMBINING_MAPS[self.combine]})

    @property
    def sha256(self) -> str:
        """Hash of the case format and of all settings that affect the content of the cases, and not of the split."""
        former = {present: name for name, present in self.renamed.items()}  # so that existing hashes remain valid
        values = self.model_dump(mode="json", exclude={"split"})
        text = json.dumps([VERSION, {former.get(name, name): value for name, value in values.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_attributes(self) -> dict[str, dict[str, str | int | float | bool]]:
        """The settings as attributes of a case: groups ``intake`` and ``preparation``."""
        values = self.model_dump(mode="json", exclude={"preprocessing"})
        return {"intake": _flat(self.maps.model_dump(mode="json")), "preparation": _flat(values)}


def _flat(values: dict[str, object]) -> dict[str, str | int | float | bool]:
    """Settings as plain numbers and texts, with lists converted to text and unset values omitted."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat({f"{name}.{key}": part for key, part in value.items()})
        elif isinstance(value, str | int | float):
            flat[name] = value
        elif value:
            flat[name] = json.dumps(value)
    return flat


def parse_sizes(text: str, axes: str, option: str) -> tuple[int, ...]:
    """Read sizes such as ``16x192x192``.

    ``axes`` describes the sizes, e.g. ``frames x y x x``.

    Raises
    ------
    ConfigError
        If the text does not have this form.
    """
    n_sizes = len(re.split(" x ", axes))
    if not re.fullmatch(rf"\d+(x\d+){{{n_sizes - 1}}}", text):
        example = "x".join(["16", "192", "192"][-n_sizes:])
        raise ConfigError(f"'{text}' is not {axes}", where=option, hint=f"e.g. {option} {example}")
    return tuple(int(size) for size in text.split("x"))


def parse_split(text: str) -> tuple[float, ...]:
    """Read the fractions of train, val and test, such as ``80,10,10``, or the name of a split that receives all cases.

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    if text in SPLITS:
        return tuple(100.0 * (name == text) for name in SPLITS)
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != len(SPLITS):
        what = f"'{text}' is neither {', '.join(SPLITS)} nor three fractions"
        raise ConfigError(what, where="--split", hint="e.g. --split 80,10,10 or --split test")
    return shares
