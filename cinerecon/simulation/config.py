"""Settings of a simulated scan."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cinerecon.config import SettingsError
from cinerecon.options import Flag, Options


class SimulateConfig(Options):
    """Size, sampling and noise of a simulated scan. Sizes that are not given are those of the measured cine, if any."""

    renamed: ClassVar[Mapping[str, str]] = {"frames": "n_frames", "coils": "n_coils", "slices": "n_slices"}

    seed: int = Field(default=0, ge=0, description="random seed; the same seed gives the same scan on every machine")
    n_frames: Annotated[int, Flag(("--frames",), default_text="25, or those of --from")] = Field(
        default=25, ge=1, le=1000, description="number of frames, evenly spread over the heartbeat"
    )
    ky: Annotated[int, Flag(default_text="192, or the rows of --from")] = Field(
        default=192, ge=8, le=1024, description="number of phase-encode lines"
    )
    kx: Annotated[int, Flag(default_text="192, or the columns of --from")] = Field(
        default=192, ge=8, le=1024, description="number of image columns along the readout"
    )
    n_coils: Annotated[int, Flag(("--coils",))] = Field(default=8, ge=1, le=128, description="number of receive coils")
    n_slices: Annotated[int, Flag(("--slices",), default_text="1, or those of --from")] = Field(
        default=1,
        ge=1,
        le=64,
        description="number of parallel slices, 10 mm apart; for a measured cine, its central slices",
    )
    view: Literal["short", "long"] | None = Field(
        default=None, description="short or long axis of the heart; random if not given"
    )
    undersample: str | None = Field(
        default=None, description="sampling pattern, e.g. gaussian:8,acs=4; by default fully sampled"
    )
    phase: Literal["smooth", "measured"] = Field(
        default="smooth",
        description="smooth phase, or phase that varies as rapidly in space and time as in measured cines",
    )
    partial_fourier: float = Field(
        default=1.0,
        gt=0.5,
        le=1,
        description="fraction of the phase-encode lines that is measured; the first lines are omitted",
    )
    partial_echo: float = Field(
        default=1.0, gt=0.5, le=1, description="fraction of each readout that is measured; its beginning is omitted"
    )
    venc: float | None = Field(
        default=None, gt=0, description="phase contrast: add a second set with this VENC [cm/s], and a vessel"
    )
    noise: float = Field(
        default=0.01, ge=0, description="standard deviation of the complex noise, relative to the image maximum"
    )
    subject: Annotated[str, Flag(default_text="that of --from")] = Field(
        default="", description="name or number of the subject, stored in the header as a hash"
    )
    oversampling: int = Field(default=2, ge=1, le=4, description="readout oversampling: samples per image column")
    segments: Annotated[int | None, Flag(default_text="frame by frame")] = Field(
        default=None,
        ge=1,
        le=256,
        description="segmented scan: number of heartbeats over which the lines of a slice are distributed",
    )
    beats: int | None = Field(default=None, ge=1, le=200, description="real-time scan: number of heartbeats")
    rr_variation: float = Field(
        default=0.0, ge=0, le=0.4, description="maximum relative deviation of an R-R interval from the mean"
    )
    ectopic: float = Field(default=0.0, ge=0, le=0.3, description="fraction of ectopic beats, each followed by a pause")
    ecg: bool = Field(default=False, description="store the ECG as waveforms")

    @model_validator(mode="after")
    def _require_beats(self) -> Self:
        if self.segments is not None and self.beats is not None:
            raise SettingsError("give either segments or, for a real-time scan, beats", "segments", "beats")
        rhythm = [name for name in ("rr_variation", "ectopic", "ecg") if getattr(self, name)]
        if rhythm and not self.is_timed:
            raise SettingsError("rr_variation, ectopic and ecg need segments, e.g. --segments 12, or beats", *rhythm)
        if self.phase == "measured" and self.venc is not None:
            what = "venc requires a smooth phase: the velocities would be lost in measured phase"
            raise SettingsError(what, "venc", "phase")
        if self.venc is not None and self.is_timed:
            raise SettingsError("venc requires a scan without segments and beats", "venc")
        if self.segments is not None and self.segments > self.ky:
            raise SettingsError(f"{self.segments} segments of {self.ky} lines", "segments", "ky")
        return self

    @property
    def is_timed(self) -> bool:
        """Whether the heart moves between readouts, with beats of varying length."""
        return self.segments is not None or self.beats is not None

    @property
    def matrix(self) -> tuple[int, int]:
        """Image size (y, x)."""
        return self.ky, self.kx
