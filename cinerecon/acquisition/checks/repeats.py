"""Check of lines that were measured several times, which may be averaged only if the measurements agree."""

from collections.abc import Iterator

import numpy as np

from cinerecon.acquisition.layout import ScanLayout
from cinerecon.acquisition.readouts.placement import LARGEST_GAIN, Lines, compare_readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan
from cinerecon.words import counted

N_COMPARED = 64
"""Number of repeated lines with the most signal that are compared."""
SIGNAL_TO_NOISE = 5.0
"""Smallest amplitude of a compared line relative to the first decile of all lines, which are mostly noise."""
AVERAGE_CORRELATION = 0.5
"""The same ratio for measurements that are numbered as averages, which breathing may change."""


def repeat_warnings(layout: ScanLayout) -> Iterator[str]:
    """Check that repeated measurements show the same image, and warn if no counter marks them as averages.

    If the user requested averaging, a contradiction only causes a warning.

    Raises
    ------
    DataError
        If the measurements of a line contradict each other; the error names two readouts.
    """
    raw, n_averages = layout.raw, layout.counters.n_averages
    lines = layout.lines.where(raw.is_readable(layout.lines.row))
    order, first, counts = _by_line(lines)
    n_repeated = int((counts - 1).sum())
    if layout.gating.is_retro or n_repeated == 0:
        return
    times = f"{counted(n_repeated, 'line')} {'was' if n_repeated == 1 else 'were'} measured more than once"
    if n_averages == 1:
        yield f"{times}: the repetitions are averaged"
    pairs = np.array(list(_pairs(raw, lines, order, first[counts > 1], counts[counts > 1])), np.intp)
    if len(pairs) == 0:
        return
    agreement = compare_readouts(raw, lines, pairs)
    correlation, is_one_image, is_one_gain = agreement.correlation, agreement.is_one_image, agreement.is_one_gain
    if is_one_image and is_one_gain:
        return
    how = f"differ (correlation {correlation:.2f})"
    if is_one_image:
        how = f"differ in amplitude: the last ones have {agreement.gain:.2g} times the amplitude of the first"
    what = f"{times}, and the measurements {how}"
    is_averageable = is_one_image or (n_averages > 1 and correlation >= AVERAGE_CORRELATION)
    is_uniform = bool((counts == counts[0]).all())  # then a gain scales the whole image
    if layout.config.repeats == "average" or (is_averageable and (is_one_gain or is_uniform)):
        yield f"{what}: they are averaged"
        return
    if n_averages > 1:
        hint = (
            "--set preprocessing.select.average=0 reads the first average; "
            "--set preprocessing.repeats=average averages them all"
        )
    else:
        hint = (
            "if a counter is missing, name it: --set preprocessing.repeats=repetition (or set, contrast, slice); "
            "--set preprocessing.repeats=average averages the measurements"
        )
    first_row, last_row = lines.row[pairs[0]]
    raise DataError(f"{what}, such as acquisitions {first_row} and {last_row}", where=raw.at(last_row), hint=hint)


def _by_line(lines: Lines) -> tuple[Index, Index, Index]:
    """Readouts sorted by slice, frame and line; start index of each line, and number of its measurements."""
    keys = np.stack([lines.slices, lines.frames, lines.ky], 1)
    _, line, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return np.argsort(line.ravel(), kind="stable"), np.cumsum(counts) - counts, counts


def _pairs(raw: RawScan, lines: Lines, order: Index, first: Index, counts: Index) -> Iterator[tuple[int, int]]:
    """Pairs of measurements of the repeated lines with the most signal.

    The first measurement is compared with the last one or, if their amplitudes differ too much for repeats, with the
    measurement of the most different amplitude: it may be another kind of readout, such as an unflagged navigator.
    """
    amplitude = np.maximum(raw.amplitude[lines.row], np.finfo(float).tiny)
    measurements = [order[begin : begin + n] for begin, n in zip(first, counts, strict=True)]
    largest = np.array([amplitude[readouts].max() for readouts in measurements])
    weakest = float(np.quantile(amplitude, 0.1))
    for i in np.argsort(-largest, kind="stable")[:N_COMPARED]:
        readouts = measurements[i]
        gain = np.abs(np.log(amplitude[readouts] / amplitude[readouts[0]]))
        is_other = gain.max() > np.log(LARGEST_GAIN)
        if largest[i] > SIGNAL_TO_NOISE * weakest:
            yield int(readouts[0]), int(readouts[gain.argmax() if is_other else -1])
