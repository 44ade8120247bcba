"""Heartbeats of a scan: R waves from time stamps, R-R intervals, arrhythmia, cardiac phase, and a report on them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.gating.clock import Clock
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.physics.cardiac_cycle import cardiac_phase, systole_ms

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

SAME_BEAT_MS = 100.0
"""Largest difference between the R waves that the readouts of one beat refer to [ms]."""
MIN_READOUTS_FRACTION = 0.05
"""Number of readouts of a beat, relative to the median, below which their time stamps are considered damaged."""
PAUSE_RATIO = 1.75
"""Ratio of an interval to the preceding one from which it is considered the pause after an ectopic beat. Respiratory
variation of 25 % remains below it; a beat that occurs after 70 % of an interval gives 1.86."""
QRS_ONSET_MS = 40.0
"""Time between ventricular activation and R wave [ms]; a beat that is cut short by an ectopic beat ends this early."""
GAP_FRACTION = 0.5
"""A beat ends at the next R wave if readouts continue to within this fraction of a median interval before it."""
BIN_MS = 50
"""Bin width of the histogram of R-R intervals [ms]."""
LONGEST_BAR = 40
"""Length of the longest bar of the text histogram [characters]."""


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats in which readouts were measured; all arrays are ``(beats,)``.

    Attributes
    ----------
    start_ms
        Time of the R wave [ms].
    length_ms
        R-R interval [ms]. If the next R wave is unknown, the time to the last readout, since segmented scans end at an
        R wave, or the usual length if that time is too short for a beat.
    is_known
        Whether the next R wave is known.
    is_used
        Whether the interval is within the R-R window and is not the pause after an ectopic beat.
    whole_ms
        Length by which cardiac phases are scaled [ms]: the R-R interval or, for a beat that is cut short by an ectopic
        beat, its length without the ectopic beat. This is half of the sum of both intervals, since the compensatory
        pause makes up for the early beat.
    """

    start_ms: Numbers
    length_ms: Numbers
    is_known: Flags
    is_used: Flags
    whole_ms: Numbers

    def __len__(self) -> int:
        """Number of beats."""
        return len(self.start_ms)

    @property
    def mean_ms(self) -> float:
        """Mean R-R interval of the used beats [ms]."""
        chosen = self.is_used & self.is_known & (self.whole_ms == self.length_ms)
        return float(self.length_ms[chosen if chosen.any() else self.is_used].mean())

    def number(self, time_ms: Numbers) -> NDArray[np.intp]:
        """Index of the beat at each time, ``(readouts,)``; -1 before the first beat and after the end of a beat."""
        number = np.searchsorted(self.start_ms, time_ms, side="right") - 1
        since = time_ms - self.start_ms[np.maximum(number, 0)]
        number[(number < 0) | (since > self.length_ms[np.maximum(number, 0)])] = -1
        return np.asarray(number, np.intp)

    def phase(self, time_ms: Numbers) -> Numbers:
        """Cardiac phase of the readouts, ``(readouts,)``, from 0 to 1; NaN in rejected beats and between beats."""
        number = self.number(time_ms)
        own = np.maximum(number, 0)
        length, mean = self.whole_ms[own], self.mean_ms
        phase = cardiac_phase(time_ms - self.start_ms[own], length, systole_ms(length), systole_ms(mean) / mean)
        is_cut = (self.whole_ms > self.length_ms)[own]
        is_early = ~is_cut | (time_ms - self.start_ms[own] < self.length_ms[own] - QRS_ONSET_MS)
        return np.where((number >= 0) & self.is_used[own] & is_early, phase, np.nan)


def r_waves_of_stamps(clock: Clock) -> Numbers:
    """R waves that the time stamps of the readouts refer to, ``(beats,)`` [ms]; empty without time stamps."""
    is_known = np.isfinite(clock.since_trigger_ms)
    waves = np.sort((clock.time_ms - clock.since_trigger_ms)[is_known])
    if waves.size == 0:
        return waves
    beats = np.split(waves, np.flatnonzero(np.diff(waves) > SAME_BEAT_MS) + 1)
    fewest = MIN_READOUTS_FRACTION * float(np.median([len(beat) for beat in beats]))
    return np.array([np.median(beat) for beat in beats if len(beat) >= fewest])


def find_beats(r_waves_ms: Numbers, time_ms: Numbers, window: float, *, is_continuous: bool) -> Beats:
    """Find the beats in which readouts were measured.

    Parameters
    ----------
    r_waves_ms
        Times of the R waves in ascending order [ms], at least one.
    time_ms
        ``(readouts,)`` times of the readouts [ms].
    window
        Largest relative difference between an R-R interval and the mean of the middle half of the intervals.
    is_continuous
        Whether R waves were also recorded between readouts, as in an ECG. Otherwise, and at gaps of the ECG, the beat
        before a pause of the scan has no known end.
    """
    number = np.searchsorted(r_waves_ms, time_ms, side="right") - 1
    measured = np.unique(number[number >= 0])
    if measured.size == 0:
        times, flags = np.empty(0), np.empty(0, bool)
        return Beats(times, times, flags, flags, times)
    start = r_waves_ms[measured]
    following = np.append(r_waves_ms, np.nan)[measured + 1]
    length = following - start
    usual = float(np.nanmedian(length)) if np.isfinite(length).any() else np.nan
    last_ms = _last_before_pause(number, time_ms, GAP_FRACTION * usual)
    span = last_ms - start + (np.median(np.diff(np.sort(time_ms))) if len(time_ms) > 1 else 0.0)
    is_known = np.isfinite(length)
    is_pause = following - last_ms > GAP_FRACTION * usual
    is_known &= ~(is_pause & (length > (1 + window) * usual) if is_continuous else is_pause)
    is_after_ectopic = _after_ectopic(length, is_known, measured)
    is_cut = np.append(is_after_ectopic[1:], False)
    is_typical = is_known & ~is_after_ectopic & ~is_cut
    is_typical = is_typical if is_typical.any() else is_known
    usual = _middle_mean(length[is_typical]) if is_typical.any() else float(span.max())
    length = np.where(is_known, length, np.where(span >= (1 - window) * usual, span, usual))
    with_pause = 0.5 * (length + np.append(length[1:], 0.0))
    is_cut &= np.abs(with_pause / usual - 1) <= window  # otherwise an R wave was missed after a regular beat
    whole = np.where(is_cut, with_pause, length)
    return Beats(start, length, is_known, (np.abs(whole / usual - 1) <= window) & ~is_after_ectopic, whole)


def _last_before_pause(number: NDArray[np.intp], time_ms: Numbers, longest_ms: float) -> Numbers:
    """Time of the last readout of each beat before the first pause longer than ``longest_ms``, ``(beats,)``.

    Readouts after a pause belong to the next R wave; inaccurate time stamps may place them just before it.
    """
    order = np.argsort(time_ms, kind="stable")
    own, times = number[order], time_ms[order]
    is_last = np.append((np.diff(own) != 0) | (np.diff(times) > longest_ms), True) & (own >= 0)
    return np.asarray(times[is_last][np.unique(own[is_last], return_index=True)[1]])


def _middle_mean(length: Numbers) -> float:
    """Mean of the middle half of the intervals, which does not jump between two groups as the median does."""
    first, last = len(length) // 4, len(length) - len(length) // 4
    return float(np.sort(length)[first:last].mean())


def _after_ectopic(length: Numbers, is_known: Flags, number: NDArray[np.intp]) -> Flags:
    """Flags of the pauses after ectopic beats, in which the contraction is ectopic."""
    is_next = (np.diff(number) == 1) & is_known[:-1] & is_known[1:]
    is_pause = is_next & (length[1:] >= PAUSE_RATIO * length[:-1])
    is_pause[1:] &= ~is_pause[:-1]  # a beat that is cut short cannot be a pause
    after: Flags = np.concatenate([[False], is_pause])
    return after


def is_consecutive(readouts: Readouts, clock: Clock, beats: Beats) -> bool:
    """Whether the frames by the counter were measured one after the other over several beats, in every slice."""
    idx = readouts.field("idx")
    name = "phase" if readouts.n_values("phase") > 1 else "repetition"
    for value in np.unique(idx["slice"]):
        own = np.flatnonzero(idx["slice"] == value)
        steps = np.diff(idx[name][own[np.argsort(clock.time_ms[own], kind="stable")]].astype(int))
        n_beats = len(np.unique(beats.number(clock.time_ms[own])))
        if n_beats < 2 or (steps < 0).any() or not (steps > 0).any():
            return False
    return True


class Usage(NamedTuple):
    """Number of readouts in a gated cine, whether they are interpolated, and coverage of k-t space."""

    n_readouts: int
    is_interpolated: bool
    coverage: float


@dataclass(frozen=True)
class GatingReport:
    """The gating mode of a scan, and the beats in which it was measured.

    Attributes
    ----------
    mode
        ``counter``, ``retro`` or ``none``.
    source
        Source of the R waves: ``physiology_time_stamp`` or ``ECG``; empty if there are none.
    n_beats, n_used_beats
        Number of beats in which readouts were measured, and of beats within the R-R window that are not ectopic.
    rr_mean_ms, rr_shortest_ms, rr_longest_ms
        R-R intervals of all beats with a known end [ms]; 0 if there are none.
    rr_used_ms
        Mean R-R interval of the used beats [ms], which is the duration of a retrospectively gated cine.
    histogram
        Number of beats in each bin of 50 ms, indexed by the start of the bin [ms].
    n_readouts, n_used_readouts
        Number of image readouts, and of those that contribute to a frame.
    is_interpolated
        Whether lines were interpolated in time instead of being averaged within each frame.
    coverage
        Mean fraction of the measured lines that a frame contains.
    is_consecutive
        Whether the frames by the counter were measured one after the other over several beats, in every slice.
    """

    mode: str
    source: str
    n_beats: int = 0
    n_used_beats: int = 0
    rr_mean_ms: float = 0.0
    rr_shortest_ms: float = 0.0
    rr_longest_ms: float = 0.0
    rr_used_ms: float = 0.0
    histogram: dict[int, int] | None = None
    n_readouts: int = 0
    n_used_readouts: int = 0
    is_interpolated: bool = False
    coverage: float = 1.0
    is_consecutive: bool = False

    def histogram_text(self) -> list[str]:
        """One line for each bin: the interval [ms], a bar, and the number of beats."""
        counts = self.histogram or {}
        most = max(counts.values(), default=1)
        return [
            f"{start:>5} ms {'#' * max(round(LONGEST_BAR * count / max(most, LONGEST_BAR)), int(count > 0))} {count}"
            for start, count in counts.items()
        ]


def describe_beats(
    mode: str, source: str, beats: Beats | None, n_readouts: int, usage: Usage | None = None
) -> GatingReport:
    """The gating report of a scan; without ``usage``, each readout contributes to one frame."""
    usage = usage or Usage(n_readouts, is_interpolated=False, coverage=1.0)
    if beats is None:
        return GatingReport(mode, source, n_readouts=n_readouts, n_used_readouts=n_readouts)
    known = beats.length_ms[beats.is_known]
    is_known = known.size > 0
    return GatingReport(
        mode=mode,
        source=source,
        n_beats=len(beats),
        n_used_beats=int(beats.is_used.sum()),
        rr_mean_ms=float(known.mean()) if is_known else 0.0,
        rr_shortest_ms=float(known.min()) if is_known else 0.0,
        rr_longest_ms=float(known.max()) if is_known else 0.0,
        rr_used_ms=beats.mean_ms if beats.is_used.any() else 0.0,
        histogram=_histogram(known),
        n_readouts=n_readouts,
        n_used_readouts=usage.n_readouts,
        is_interpolated=usage.is_interpolated,
        coverage=usage.coverage,
    )


def _histogram(lengths_ms: Numbers) -> dict[int, int]:
    """Number of intervals in each bin between the shortest and the longest interval."""
    if lengths_ms.size == 0:
        return {}
    bins = (np.round(lengths_ms, 3) // BIN_MS).astype(int)
    first = int(bins.min())
    return {BIN_MS * (first + i): int(count) for i, count in enumerate(np.bincount(bins - first))}
