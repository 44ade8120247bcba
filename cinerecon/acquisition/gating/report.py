"""Report on the gating of a scan: R-R intervals, used beats, coverage of k-t space."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cinerecon.acquisition.gating.beats import Beats

BIN_MS = 50
"""Bin width of the histogram of R-R intervals [ms]."""
LONGEST_BAR = 40
"""Length of the longest bar of the text histogram [characters]."""


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


def _histogram(lengths_ms: np.ndarray) -> dict[int, int]:
    """Number of intervals in each bin between the shortest and the longest interval."""
    if lengths_ms.size == 0:
        return {}
    bins = (np.round(lengths_ms, 3) // BIN_MS).astype(int)
    first = int(bins.min())
    return {BIN_MS * (first + i): int(count) for i, count in enumerate(np.bincount(bins - first))}
