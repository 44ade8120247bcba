"""The frames of a scan: by its counters, by cardiac phase (retrospective gating), or in real time.

Gating has two steps. Before the counters are read, the counters that retrospective gating or real-time imaging replaces
are set. After the lines have been located on the grid, each line is interpolated between its measured cardiac phases.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.gating.beats import (
    Beats,
    GatingReport,
    Usage,
    describe_beats,
    find_beats,
    is_consecutive,
    r_waves_of_stamps,
)
from cinerecon.acquisition.gating.clock import Clock, read_clock, unit_warnings
from cinerecon.acquisition.gating.frames import interpolate, is_dense, number_frames
from cinerecon.acquisition.gating.r_waves import ecg_interval_ms, r_waves_of_ecg
from cinerecon.acquisition.readouts.counters import Counters, require_within_limit
from cinerecon.acquisition.readouts.placement import Lines
from cinerecon.acquisition.readouts.subset import Readouts, Warn
from cinerecon.errors import DataError, UnsupportedError
from cinerecon.io.ismrmrd.raw import Index, RawScan
from cinerecon.io.ismrmrd.waveforms import ECG_ID, Waveform, ecg_of

SHORTEST_MEAN_RR_MS, LONGEST_MEAN_RR_MS = 250.0, 2500.0
"""Plausible range of mean R-R intervals [ms], at 240 and 24 beats per minute."""
REPLACED = ("phase", "repetition", "average", "segment")
"""Counters that number parts of the frames of a gated scan."""
RESTART_FRACTION = 0.9
"""Smallest fraction of beats in which a counter that restarts at each R wave begins at its smallest value."""
COVERED_FRACTION = 0.95
"""Smallest fraction of the readouts that the ECG must cover; the scan may begin before the first R wave."""
COMMON_FRACTION = 0.5
"""Smallest fraction of beats that end at the same value of a counter that numbers the final frames."""


@dataclass(frozen=True, eq=False)
class Gating:
    """The gating of a scan.

    Attributes
    ----------
    mode
        ``counter``, ``retro`` or ``none``.
    clock
        Times of the image readouts; None if they are unknown.
    beats
        The heartbeats; None if the R waves are unknown.
    rows
        Row numbers of the image readouts.
    n_frames
        Number of frames of a retrospectively gated cine.
    source
        Source of the R waves: ``physiology_time_stamp`` or ``ECG``; empty if there are none.
    is_consecutive
        Whether the frames by the counter were measured one after the other over several beats, in every slice.
    usage
        Use of the readouts in a retrospectively gated scan; None before they are assigned to frames.
    """

    mode: str
    clock: Clock | None
    beats: Beats | None
    rows: Index
    n_frames: int
    source: str
    is_consecutive: bool
    usage: Usage | None = None

    @property
    def report(self) -> GatingReport:
        """The gating report for `inspect`."""
        report = describe_beats(self.mode, self.source, self.beats, len(self.rows), self.usage)
        return replace(report, is_consecutive=self.is_consecutive)

    @property
    def is_retro(self) -> bool:
        """Whether the scan is gated retrospectively."""
        return self.mode == "retro"

    @property
    def frame_times_ms(self) -> tuple[float, ...] | None:
        """Times of the frames of a retrospectively gated cine since the R wave [ms]; None for other scans."""
        if not self.is_retro or self.beats is None:
            return None
        return tuple(self.beats.mean_ms * frame / self.n_frames for frame in range(self.n_frames))

    @property
    def is_real_time(self) -> bool:
        """Whether the frames were measured consecutively over several beats, so that the series is not periodic."""
        if self.mode == "none":
            return True
        return self.mode == "counter" and self.is_consecutive

    def set_counters(self, raw: RawScan, config: AcquisitionConfig, warn: Warn) -> tuple[RawScan, AcquisitionConfig]:
        """Replace the counters of the scan as gating requires, and return the scan with the settings for its counters.

        Raises
        ------
        HeaderError
            If the counters of a real-time scan are damaged.
        UnsupportedError
            If a real-time scan has more frames than the counter can number.
        """
        if self.mode == "counter":
            return raw, config
        raw = replace(raw, heads=raw.heads.copy())
        image, idx = Readouts(raw, self.rows, warn), raw.heads["idx"]
        replaced = [name for name in REPLACED if name not in config.select]
        if self.is_retro:
            config = config.model_copy(update={"repeats": "average", "time_counter": "auto", "combine": []})
            for name in replaced:
                idx[name] = 0
        else:
            for name in ("phase", "repetition") if len(raw.header.encodings) == 1 else ():
                require_within_limit(image, name)
            numbers = number_frames(image, self.clock, config.real_time_lines)
            if numbers.max() > np.iinfo(idx["phase"].dtype).max:
                what = (
                    f"{numbers.max() + 1} frames in real time, at most {np.iinfo(idx['phase'].dtype).max} are possible"
                )
                raise UnsupportedError(what, where=str(raw.path), hint="--set preprocessing.real_time_lines=...")
            idx["phase"][self.rows] = numbers
            for name in replaced:
                if name not in ("phase", "segment"):
                    idx[name] = 0
            config = config.model_copy(update={"time_counter": "auto", "combine": []})
        encodings = tuple(
            replace(encoding, limits={name: limit for name, limit in encoding.limits.items() if name not in replaced})
            for encoding in raw.header.encodings
        )
        return raw.with_encodings(*encodings), config

    def gate(self, lines: Lines, counters: Counters, warn: Warn) -> tuple[Lines, Counters, "Gating"]:
        """Assign located lines to the frames of a retrospectively gated cine; other scans are unchanged.

        Raises
        ------
        DataError
            If no readouts remain for a slice.
        """
        if not self.is_retro:
            return lines, counters, self
        assert self.clock is not None
        assert self.beats is not None
        order = np.searchsorted(self.rows, lines.row)
        phase = self.beats.phase(self.clock.time_ms[order])
        n_rows = int(lines.ky.max()) + 1
        number = lines.slices * n_rows + lines.ky
        dense = is_dense(number, phase, self.n_frames)
        parts = interpolate(number, phase, self.n_frames, dense=dense)
        by_row = np.lexsort((parts.frame, lines.row[parts.readout]))
        gated = lines.where(parts.readout[by_row])
        gated = replace(gated, frames=parts.frame[by_row], weight=parts.weight[by_row])
        n_slices = len(counters.n_frames)
        for slice_number in range(n_slices):
            self._require_lines(lines, gated, slice_number, warn)
        n_measured = len(np.unique(number)) * self.n_frames
        covered = len(np.unique(number[parts.readout] * self.n_frames + parts.frame))
        usage = Usage(len(np.unique(parts.readout)), dense, covered / n_measured)
        counters = replace(counters, n_frames=(self.n_frames,) * n_slices, time="cardiac phase")
        return gated, counters, replace(self, usage=usage)

    def _require_lines(self, lines: Lines, gated: Lines, number: int, warn: Warn) -> None:
        """Check that every frame of a slice has lines, and warn about lines measured only in rejected beats."""
        own, used = lines.of_slice(number), gated.of_slice(number)
        empty = np.setdiff1d(np.arange(self.n_frames), used.frames)
        if empty.size:
            what = f"gating assigns no line to frame {empty[0]} of {self.n_frames} of slice {number}"
            hint = "fewer frames, or a wider --set preprocessing.rr_window"
            if used.row.size == 0:
                what = f"slice {number} was measured outside the heartbeats that are used"
                hint = f"were R waves recorded during this slice? their source is {self.source}"
            n_used, n_beats = (0, 0) if self.beats is None else (int(self.beats.is_used.sum()), len(self.beats))
            raise DataError(what, where=f"{n_used} of {n_beats} beats used", hint=hint)
        missing = np.setdiff1d(own.ky, used.ky)
        if missing.size:
            warn(
                f"{missing.size} of {len(np.unique(own.ky))} lines of slice {number} were measured only in "
                "rejected beats and are treated as not measured; a wider --set preprocessing.rr_window uses them"
            )


def plan_gating(image: Readouts, config: AcquisitionConfig) -> Gating:
    """Determine the frames and the heartbeats of a scan.

    Raises
    ------
    DataError
        If retrospective gating is requested, but R waves are unknown or implausible.
    """
    notes: list[str] = []
    try:
        clock = read_clock(replace(image, warn=notes.append), config.tick_ms)
        source, r_waves = _r_waves(image.raw.waveforms, clock, config)
        beats = None
        if r_waves.size:
            beats = find_beats(r_waves, clock.time_ms, config.rr_window, is_continuous=source == "ECG")
            beats = beats if len(beats) else None
    except DataError:
        if config.gating == "retro":
            raise
        clock, source, beats = None, "", None
    mode = config.gating
    if mode != "retro" and beats is not None and not _is_plausible(beats):
        source, beats = "", None
    if mode == "auto":
        reason = "" if beats is None else _why_not_counter(image, clock, beats, config)
        mode = "retro" if reason else "counter"
        if reason:
            image.warn(f"{reason}: the scan is gated retrospectively; --gating counter uses the counter instead")
    if mode == "retro":
        if clock is not None and (source == "ECG" or beats is None):
            _require_ecg_during_scan(image, clock)
        beats = _require_beats(image, beats, source, config)
        _warn_of_rejected(beats, config, image.warn)
    if mode != "counter":
        for note in notes:
            image.warn(note)
    if clock is not None and config.tick_ms is None:
        for text in unit_warnings(image.raw.header, clock):
            image.warn(text)
    consecutive = clock is not None and beats is not None and is_consecutive(image, clock, beats)
    return Gating(mode, clock, beats, image.rows, config.gated_frames, source, consecutive)


def _r_waves(waveforms: Sequence[Waveform], clock: Clock, config: AcquisitionConfig) -> tuple[str, np.ndarray]:
    """The source of the R waves, and their times [ms]."""
    if config.r_waves in ("auto", "stamps"):
        waves = r_waves_of_stamps(clock)
        if waves.size:
            return "physiology_time_stamp", waves
    if config.r_waves in ("auto", "ecg"):
        return "ECG", r_waves_of_ecg(waveforms, clock)
    return "", np.empty(0)


def _require_ecg_during_scan(image: Readouts, clock: Clock) -> None:
    """Check that the time stamps of the ECG cover the readouts, and warn if they cover only a part of them."""
    start_ms, end_ms = ecg_interval_ms(image.raw.waveforms, clock)
    covered = float(((clock.time_ms >= start_ms) & (clock.time_ms <= end_ms)).mean())
    if start_ms == end_ms or covered >= COVERED_FRACTION:
        return
    what = (
        f"by the time stamps the ECG lasts from {1e-3 * start_ms:.1f} to {1e-3 * end_ms:.1f} s, the readouts from 0 to "
        f"{1e-3 * clock.time_ms.max():.1f} s"
    )
    if covered == 0:
        hint = "time stamps of waveforms must have the same unit and origin as acquisition_time_stamp"
        raise DataError(f"the R waves are unknown: {what}", where=image.path, hint=hint)
    image.warn(f"{what}: only {covered:.0%} of the readouts are gated")


def _require_beats(image: Readouts, beats: Beats | None, source: str, config: AcquisitionConfig) -> Beats:
    """Check that there are beats of plausible length."""
    where = image.path
    if beats is None:
        what = f"the R waves are unknown: {_why_no_r_waves(image, config)}"
        raise DataError(what, where=where, hint="--gating counter uses the counters, --gating none the temporal order")
    if not _is_plausible(beats):
        mean_ms = _mean_rr_ms(beats)
        what = f"the mean R-R interval by {source} is {mean_ms:.4g} ms, expected {SHORTEST_MEAN_RR_MS:g} to "
        hint = "--set preprocessing.tick_ms=... sets the unit of the time stamps"
        raise DataError(f"{what}{LONGEST_MEAN_RR_MS:g} ms", where=where, hint=hint)
    if not beats.is_used.any():
        raise DataError("no heartbeat is within the R-R window", where=where, hint="--set preprocessing.rr_window=0.5")
    return beats


def _why_no_r_waves(image: Readouts, config: AcquisitionConfig) -> str:
    """The reasons why neither the time stamps nor the ECG contain R waves."""
    stamps = np.unique(image.field("physiology_time_stamp")[:, 0])
    by_stamps = f"physiology_time_stamp is {f'constant ({stamps[0]})' if len(stamps) == 1 else 'not usable'}"
    blocks = [block for block in image.raw.waveforms if block.number == ECG_ID]
    if ecg_of(blocks):
        by_ecg = "no R wave was found in its ECG"
    else:
        by_ecg = "its ECG has no samples at known times" if blocks else "the file contains no ECG"
    if config.r_waves == "auto":
        return f"{by_stamps}, and {by_ecg}"
    return f"{by_stamps if config.r_waves == 'stamps' else by_ecg} (preprocessing.r_waves is {config.r_waves})"


def _mean_rr_ms(beats: Beats) -> float:
    """Mean R-R interval of the beats with a known end, or of all beats if there are none."""
    return float(beats.length_ms[beats.is_known if beats.is_known.any() else slice(None)].mean())


def _is_plausible(beats: Beats) -> bool:
    return SHORTEST_MEAN_RR_MS <= _mean_rr_ms(beats) <= LONGEST_MEAN_RR_MS


def _warn_of_rejected(beats: Beats, config: AcquisitionConfig, warn: Warn) -> None:
    """Warn about rejected beats, and about a single beat of unknown length."""
    n_rejected = int((~beats.is_used).sum())
    if n_rejected:
        warn(
            f"{n_rejected} of {len(beats)} heartbeats are rejected: R-R intervals more than "
            f"{config.rr_window:.0%} from the usual length, or ectopic beats; the remaining beats last "
            f"{beats.mean_ms:.0f} ms on average"
        )
    if not beats.is_known.any():
        warn(
            "one heartbeat without an R wave after it: it is assumed to end with its last readout, "
            f"{beats.mean_ms:.0f} ms"
        )


def _why_not_counter(image: Readouts, clock: Clock | None, beats: Beats, config: AcquisitionConfig) -> str:
    """Reason why the counters of a scan are clearly not its final frames; empty if they may be."""
    is_chosen = config.time_counter != "auto" or config.repeats != "auto" or config.combine or config.select
    if is_chosen or clock is None or beats.is_known.sum() < 2:
        return ""
    limits, phase = image.encoding.limits, image.counter("phase")
    n_values = {name: image.n_values(name) for name in ("phase", "repetition", "contrast", "set")}
    if max(n_values.values()) == 1:
        claimed = max((limits[name].maximum for name in (*n_values, "average") if name in limits), default=0)
        counts = np.unique(np.stack([image.counter("slice"), image.lines], 1), axis=0, return_counts=True)[1]
        is_cine = claimed == 0 and float(np.median(counts)) >= 4
        return "phase and repetition are constant, and lines were measured over the whole beat" if is_cine else ""
    if n_values["phase"] == 1 or n_values["repetition"] > 1:
        return ""
    number = beats.number(clock.time_ms)
    used = np.flatnonzero(beats.is_used & beats.is_known)
    phases = [values for beat in used if (values := phase[number == beat]).size]
    if not phases:
        return ""
    first = int(phase.min())
    restarts = np.mean([values.min() == first for values in phases]) >= RESTART_FRACTION
    last = np.array([values.max() for values in phases])
    values, counts = np.unique(last, return_counts=True)
    varies = values[-1] - values[0] > 1 and counts.max() < COMMON_FRACTION * len(last)
    if not (restarts and varies):
        return ""
    return f"the counter phase ends at {values[0]} to {values[-1]}, depending on the length of the beat"
