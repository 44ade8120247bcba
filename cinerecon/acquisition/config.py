"""Acquisition settings, which are stored with a model so that `recon` processes data exactly as in training."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from cinerecon.config import Config
from cinerecon.options import AUTO_LOSS, COMPRESSION, ArrayOptions, CsmMethod

Uncounted = Literal["auto", "average", "slice", "contrast", "phase", "repetition", "set"]
TimeCounter = Literal["auto", "phase", "repetition", "average", "contrast", "set", "segment", "slice"]
GatingMode = Literal["auto", "counter", "retro", "none"]
Counter = Literal["average", "slice", "contrast", "phase", "repetition", "set", "segment"]


class AcquisitionConfig(Config):
    """Processing of raw readouts to a cine."""

    renamed: ClassVar[Mapping[str, str]] = {"leave_out_coils": "exclude_coils"}

    whiten: bool = Field(default=True, description="prewhiten the coils if the scan has noise readouts")
    n_virtual_coils: int | Literal["auto"] | None = Field(
        default=None,
        description="number of virtual coils to compress to; auto: the smallest number that keeps 99 % of the signal "
        "energy; null: no compression",
    )
    compression: Literal["pca", "geometric"] = Field(
        default=COMPRESSION,
        description="pca: principal components of all samples; geometric: separately for each position along the "
        "readout",
    )
    csm: CsmMethod = Field(default="smooth", description="method for estimating coil maps")
    remove_oversampling: bool = Field(
        default=True,
        description="remove readout oversampling: crop the image along the readout to the prescribed field of view",
    )
    transform: Literal["auto", "fft", "ifft"] = Field(
        default="auto",
        description="transform from stored k-space to the image; auto: fft for Siemens, ifft for other vendors",
    )
    select: dict[Counter, int] = Field(
        default_factory=dict, description="value of a counter to select, e.g. {contrast: 0} for a multi-echo scan"
    )
    time_counter: TimeCounter = Field(
        default="auto",
        description="counter that numbers the frames; auto: phase, or repetition if there is only one phase",
    )
    combine: list[Counter] = Field(
        default_factory=list,
        description="counters that divide the lines of one image, e.g. [repetition] if it counts heartbeats",
    )
    gating: GatingMode = Field(
        default="auto",
        description="assignment to frames: by the counters (counter), by the time since the R wave (retro), or in "
        "order of acquisition (none, real time); auto: by the counters unless they clearly do not number "
        "the frames",
    )
    gated_frames: int = Field(default=25, ge=2, le=1000, description="number of frames of a retrospectively gated cine")
    rr_window: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="largest accepted relative difference of an R-R interval from the interquartile mean of all "
        "intervals",
    )
    r_waves: Literal["auto", "stamps", "ecg"] = Field(
        default="auto",
        description="source of the R waves: the physiological time stamps, or the ECG in the file; auto prefers time "
        "stamps",
    )
    tick_ms: float | None = Field(
        default=None,
        gt=0,
        description="unit of acquisition_time_stamp [ms]; null: 2.5 for Siemens, otherwise determined from the "
        "readouts",
    )
    real_time_lines: int | None = Field(
        default=None,
        ge=1,
        description="number of readouts in each real-time frame; null: by the counters, or up to the first repeated "
        "line",
    )
    repeats: Uncounted = Field(
        default="auto",
        description="meaning of repeated measurements of a line that no counter distinguishes: average, or the "
        "counter that was not written; auto: average them if they agree",
    )
    positions: Literal["auto", "slices", "one"] = Field(
        default="auto",
        description="readouts of one slice at several positions: separate slices, or one slice that follows the "
        "motion; auto: separate slices if each position has all lines, otherwise an error",
    )
    encoding: int | None = Field(
        default=None,
        ge=0,
        description="index of the encoding in the header to reconstruct; null: the first encoding that has image lines",
    )
    center_sample: int | None = Field(
        default=None,
        ge=0,
        description="sample at the centre of k-space; null: the value in the readout headers, which is checked",
    )
    ky_centre: int | None = Field(
        default=None,
        ge=0,
        description="line at the centre of k-space; null: the value in the header, which is compared with the data",
    )
    exclude_coils: list[int] = Field(
        default_factory=list, description="coils to exclude, counted from 0, e.g. [2] if coil 2 is defective"
    )
    arrays: ArrayOptions = Field(
        default=ArrayOptions(),
        description="description of k-space in plain array files, as with --axes and similar options",
    )
    memory_limit_gb: float = Field(
        default=16.0, gt=0, description="largest k-space of a slice [GB]; larger scans are refused"
    )

    @field_validator("n_virtual_coils", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        if value not in (None, "auto") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError("expected a whole number of at least 1, or auto")
        return value

    def fewer_coils(self, n_coils: int) -> int | Literal["auto"] | None:
        """The number of virtual coils for a number of coils; None if they are not compressed."""
        n_virtual = self.n_virtual_coils
        return None if n_coils == 1 or (isinstance(n_virtual, int) and n_virtual >= n_coils) else n_virtual

    def with_set(self, index: int | None) -> "AcquisitionConfig":
        """A copy that reads one set of a scan with several sets; None leaves the choice open."""
        return self if index is None else self.with_settings([f"select.set={index}"], where="--set-index")

    def with_arrays(self, arrays: ArrayOptions) -> "AcquisitionConfig":
        """A copy in which the given options replace settings of array files."""
        values = {name: getattr(arrays, name) for name in ArrayOptions.model_fields}
        changed = {name: value for name, value in values.items() if value not in (None, "")}
        return self.model_copy(update={"arrays": self.arrays.model_copy(update=changed)}) if changed else self


def select_option(counter: str, value: int) -> str:
    """The option that selects the readouts with one value of a counter, as text."""
    return f"--set-index={value}" if counter == "set" else f"--set preprocessing.select.{counter}={value}"


def describe_kept_coils(n_coils: int, n_virtual: int | Literal["auto"] | None) -> str:
    """Reason why all coils are kept although virtual coils are requested; empty if no compression is requested."""
    if n_virtual == "auto":
        reason = f"fewer would discard more than {AUTO_LOSS:.0%} of the signal energy"
        return f"all {n_coils} coils are kept: {reason}" if n_coils > 1 else ""
    if n_virtual is None or n_virtual <= n_coils:
        return ""
    coils = "the one coil is" if n_coils == 1 else f"all {n_coils} coils are"
    return f"{coils} kept: {n_virtual} virtual coils were requested"
