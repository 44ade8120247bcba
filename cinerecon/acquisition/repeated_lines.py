"""Lines that were measured several times: averaging them is right only where the measurements agree."""

from collections.abc import Iterator

import numpy as np

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.ordering import PILOT_TONE, Lines
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan

N_COMPARED = 64
"""Repeated lines that are compared: those of most signal."""
ABOVE_NOISE = 5.0
"""Amplitude of a compared line over that of the weakest tenth of all lines, which show little but noise."""
REPEATS_AGREE = 0.95
"""Correlation of repeated measurements below which they are of different images. Noise and small motion leave more than
0.97; neighbouring slices and the two ends of a heartbeat have 0.9."""
AVERAGES_AGREE = 0.5
"""The same for measurements that the file itself counts as averages: breathing may have come between them."""


def require_agreement(raw: RawScan, lines: Lines, n_averages: int, *, is_asked: bool, warn: Warn) -> None:
    """Check that measurements that will be averaged show the same image.

    Parameters
    ----------
    raw
        The scan.
    lines
        Its image readouts, placed.
    n_averages
        Averages that the file counts.
    is_asked
        Whether the user asked for averages: then a contradiction is a warning.
    warn
        Called where lines are averaged that no counter says are averages.

    Raises
    ------
    DataError
        If the measurements of a line contradict each other, naming two readouts.
    """
    order, first, counts = _by_line(lines)
    n_repeated = int((counts - 1).sum())
    if n_repeated == 0:
        return
    if n_averages == 1:
        warn(f"{n_repeated} lines were measured more than once: the repeats are averaged")
    pairs = np.array(list(_pairs(raw, lines, order, first[counts > 1], counts[counts > 1])), np.intp)
    if len(pairs) == 0:
        return
    agreement = _correlation(raw, lines, pairs)
    threshold = REPEATS_AGREE if n_averages == 1 else AVERAGES_AGREE
    if agreement >= REPEATS_AGREE:
        return
    one, other = lines.row[pairs[0]]
    what = f"{n_repeated} lines were measured more than once, and the measurements differ (correlation {agreement:.2f})"
    if agreement >= threshold or is_asked:
        warn(f"{what}: they are averaged")
        return
    if n_averages > 1:
        hint = "--intake select.average=0 takes the first average, repeats=average averages all the same"
    else:
        hint = (
            "a counter is missing: --intake repeats=set, contrast, repetition or slice numbers them, "
            "repeats=average averages all the same"
        )
    raise DataError(f"{what}, such as acquisitions {one} and {other}", where=raw.at(other), hint=hint)


def _by_line(lines: Lines) -> tuple[Index, Index, Index]:
    """Readouts sorted by slice, frame and line; where each line begins among them, and how often it was measured."""
    keys = np.stack([lines.slices, lines.frames, lines.ky], 1)
    _, line, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return np.argsort(line.ravel(), kind="stable"), np.cumsum(counts) - counts, counts


def _pairs(raw: RawScan, lines: Lines, order: Index, first: Index, counts: Index) -> Iterator[tuple[int, int]]:
    """The first and the last measurement of the repeated lines of most signal, where both cover the same columns."""
    amplitude = raw.amplitude[lines.row]
    strongest = np.argsort(-amplitude[order[first]], kind="stable")[:N_COMPARED]
    weakest = float(np.quantile(amplitude, 0.1))
    for i in strongest:
        one, other = int(order[first[i]]), int(order[first[i] + counts[i] - 1])
        is_alike = lines.start[one] == lines.start[other] and lines.n_samples[one] == lines.n_samples[other]
        if is_alike and amplitude[one] > ABOVE_NOISE * weakest:
            yield one, other


def _correlation(raw: RawScan, lines: Lines, pairs: Index) -> float:
    """Correlation of pairs of readouts, weighted by their energy; 1 where they differ by a factor alone."""
    product = energy = 0.0
    for pair in pairs:
        one, other = (_samples(raw, lines, int(i)) for i in pair)
        product += float(np.vdot(one, other).real)
        energy += float(np.linalg.norm(one) * np.linalg.norm(other))
    return product / energy if energy else 1.0


def _samples(raw: RawScan, lines: Lines, i: int) -> np.ndarray:
    stored = raw.samples(lines.row[i : i + 1])[0]
    if raw.header.has_pilot_tone:
        stored[:, : PILOT_TONE[0]] = stored[:, -PILOT_TONE[1] :] = 0
    kept = stored[:, lines.skip[i] : lines.skip[i] + lines.n_samples[i]].astype(np.complex128)
    return kept[:, ::-1] if lines.reverse[i] else kept
