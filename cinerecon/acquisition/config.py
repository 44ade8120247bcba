"""Settings of the acquisition, which are stored with a model so that `recon` processes data exactly as in training."""

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

    whiten: bool = Field(default=True, description="decorrelate the noise of the coils if the scan has noise readouts")
    n_virtual_coils: int | Literal["auto"] | None = Field(
        default=None,
        description="compress to this many virtual coils; auto keeps 99 % of the signal energy with as few as"
        " possible; null keeps all",
    )
    compression: Literal["pca", "geometric"] = Field(
        default=COMPRESSION, description="principal components of all samples, or of each position along the readout"
    )
    csm: CsmMethod = Field(default="smooth", description="method for the coil maps")
    remove_oversampling: bool = Field(
        default=True, description="crop the image along the readout to the prescribed field of view"
    )
    transform: Literal["auto", "fft", "ifft"] = Field(
        default="auto",
        description="transform from the stored k-space to the image; auto is fft for Siemens, ifft for the others",
    )
    select: dict[Counter, int] = Field(
        default_factory=dict, description="keep one value of a counter, e.g. {contrast: 0} of a multi-echo scan"
    )
    time_counter: TimeCounter = Field(
        default="auto", description="counter of the frames; auto is phase, or repetition if there is only one phase"
    )
    combine: list[Counter] = Field(
        default_factory=list,
        description="counters of parts of one image, e.g. [repetition] if it counts heartbeats",
    )
    gating: GatingMode = Field(
        default="auto",
        description="frames by the counters (counter), by the time since the R wave (retro), or as measured in real"
        " time (none); auto uses the counters unless they clearly do not number frames",
    )
    gated_frames: int = Field(default=25, ge=2, le=1000, description="frames of a retrospectively gated cine")
    rr_window: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="largest relative difference of an R-R interval from the mean of the middle half of all",
    )
    r_waves: Literal["auto", "stamps", "ecg"] = Field(
        default="auto",
        description="R waves from the physiological time stamps or from the ECG in the file; auto prefers stamps",
    )
    tick_ms: float | None = Field(
        default=None,
        gt=0,
        description="unit of acquisition_time_stamp [ms]; null is 2.5 for Siemens, otherwise it is determined",
    )
    real_time_lines: int | None = Field(
        default=None,
        ge=1,
        description="readouts of each frame in real time; null follows the counters, or ends before a line recurs",
    )
    repeats: Uncounted = Field(
        default="auto",
        description="meaning of repeated measurements of a line that no counter distinguishes: average, or the counter"
        " that was not written; auto averages those that agree",
    )
    positions: Literal["auto", "slices", "one"] = Field(
        default="auto",
        description="readouts of one slice at several positions: separate slices, or one slice that follows the motion;"
        " auto reads several full sets of lines as slices, and refuses others",
    )
    encoding: int | None = Field(
        default=None,
        ge=0,
        description="encoding of the header to reconstruct; null is the first encoding that has image lines",
    )
    center_sample: int | None = Field(
        default=None,
        ge=0,
        description="sample at the centre of k-space; null is that in the readout headers, which is checked",
    )
    ky_centre: int | None = Field(
        default=None,
        ge=0,
        description="line at the centre of k-space; null is that in the header, which is compared with the data",
    )
    exclude_coils: list[int] = Field(
        default_factory=list, description="coils to leave out, counted from 0, e.g. [2] if coil 2 is broken"
    )
    arrays: ArrayOptions = Field(
        default=ArrayOptions(),
        description="description of k-space in plain array files, as by --axes and similar options",
    )
    memory_limit_gb: float = Field(
        default=16.0, gt=0, description="refuse a scan whose slices need more than this for k-space [GB]"
    )

    @field_validator("n_virtual_coils", mode="before")
    @classmethod
    def _is_a_number_or_auto(cls, value: object) -> object:
        if value not in (None, "auto") and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError("expected a whole number of at least 1, or auto")
        return value

    def with_set(self, index: int | None) -> "AcquisitionConfig":
        """A copy that reads one set of a scan with several; None leaves the choice open."""
        return self if index is None else self.with_settings([f"select.set={index}"], where="--set-index")

    def with_arrays(self, arrays: ArrayOptions) -> "AcquisitionConfig":
        """A copy in which the description of array files is updated by the options that are set."""
        values = {name: getattr(arrays, name) for name in ArrayOptions.model_fields}
        changed = {name: value for name, value in values.items() if value not in (None, "")}
        return self.model_copy(update={"arrays": self.arrays.model_copy(update=changed)}) if changed else self


def select_option(counter: str, value: int) -> str:
    """The option that selects the readouts with one value of a counter."""
    return f"--set-index={value}" if counter == "set" else f"--set preprocessing.select.{counter}={value}"


def describe_kept_coils(n_coils: int, n_virtual: int | Literal["auto"] | None) -> str:
    """Why all coils are kept although the settings ask for virtual ones; empty if they do not, or ask for as many."""
    if n_virtual == "auto":
        reason = f"fewer leave out more than {AUTO_LOSS:.0%} of the energy of the signal"
        return f"all {n_coils} coils are kept: {reason}" if n_coils > 1 else ""
    if n_virtual is None or n_virtual <= n_coils:
        return ""
    coils = "the one coil is" if n_coils == 1 else f"all {n_coils} coils are"
    return f"{coils} kept: {n_virtual} virtual coils were requested"
