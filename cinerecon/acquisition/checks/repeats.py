"""Check of lines that were measured several times: they are averaged, which is valid only if they agree."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.placement import Lines
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan

N_COMPARED = 64
"""Number of repeated lines that are compared, those with the most signal."""
SIGNAL_TO_NOISE = 5.0
"""Smallest ratio of the amplitude of a compared line to the first decile of all lines, which are mostly noise."""
REPEAT_CORRELATION = 0.95
"""Correlation of repeated measurements below which they belong to different images. With noise and small motion it is
above 0.97; adjacent slices and the two ends of a heartbeat have 0.9."""
AVERAGE_CORRELATION = 0.5
"""The same for measurements that are counted as averages, which breathing may change."""
LARGEST_GAIN = 1.3
"""Largest ratio of the amplitudes of repeated measurements; noise and motion change them by a few per cent."""


def check_repeated_lines(raw: RawScan, lines: Lines, n_averages: int, *, is_requested: bool) -> list[str]:
    """Check that measurements that will be averaged show the same image.

    A contradiction is only a warning if the user requested averages.

    Returns
    -------
    Warnings about lines that are averaged although no counter marks them as averages.

    Raises
    ------
    DataError
        If the measurements of a line contradict each other; the error names two readouts.
    """
    order, first, counts = _by_line(lines)
    n_repeated = int((counts - 1).sum())
    if n_repeated == 0:
        return []
    warnings = [f"{n_repeated} lines were measured more than once: the repeats are averaged"] if n_averages == 1 else []
    pairs = np.array(list(_pairs(raw, lines, order, first[counts > 1], counts[counts > 1])), np.intp)
    if len(pairs) == 0:
        return warnings
    correlation, gain = compare_readouts(raw, lines, pairs)
    is_one_image, is_one_gain = correlation >= REPEAT_CORRELATION, 1 / LARGEST_GAIN < gain < LARGEST_GAIN
    if is_one_image and is_one_gain:
        return warnings
    how = f"differ (correlation {correlation:.2f})"
    if is_one_image:
        how = f"differ in amplitude, the last ones have {gain:.2g} times that of the first"
    first_row, last_row = lines.row[pairs[0]]
    what = f"{n_repeated} lines were measured more than once, and the measurements {how}"
    is_averageable = is_one_image or (n_averages > 1 and correlation >= AVERAGE_CORRELATION)
    is_uniform = is_one_gain or bool(
        (counts == counts[0]).all()
    )  # if all lines are repeated, a gain scales the whole image
    if is_requested or (is_averageable and is_uniform):
        return [*warnings, f"{what}: they are averaged"]
    if n_averages > 1:
        hint = "--set preprocessing.select.average=0 reads the first average, repeats=average averages anyway"
    else:
        hint = (
            "a counter is missing: --set preprocessing.repeats=set, contrast, repetition or slice numbers them, "
            "repeats=average averages anyway"
        )
    raise DataError(f"{what}, such as acquisitions {first_row} and {last_row}", where=raw.at(last_row), hint=hint)


def _by_line(lines: Lines) -> tuple[Index, Index, Index]:
    """Readouts sorted by slice, frame and line; the index at which each line begins, and how often it was measured."""
    keys = np.stack([lines.slices, lines.frames, lines.ky], 1)
    _, line, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    return np.argsort(line.ravel(), kind="stable"), np.cumsum(counts) - counts, counts


def _pairs(raw: RawScan, lines: Lines, order: Index, first: Index, counts: Index) -> Iterator[tuple[int, int]]:
    """Pairs of measurements of the repeated lines with the most signal.

    The first is compared with the last, or with that of the most different amplitude if the difference is too large for
    repeats: it may be another kind of readout, such as a navigator that is not flagged.
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


def compare_readouts(raw: RawScan, lines: Lines, pairs: Index) -> tuple[float, float]:
    """Compare pairs of readouts in the columns that both cover, among them the centre.

    Parameters
    ----------
    raw
        The scan.
    lines
        Its readouts, located on the grid.
    pairs
        ``(pairs, 2)`` indices of ``lines``.

    Returns
    -------
    The correlation, weighted by the energy and 1 if readouts differ only by a factor, and the ratio of the amplitudes
    of second to first readouts.
    """
    product = energy = 0.0
    gains = []
    both = lines.where(pairs.ravel())
    samples = line_samples(raw, both)
    for i in range(0, len(samples), 2):
        begin, end = both.start[i : i + 2].max(), (both.start + both.n_samples)[i : i + 2].min()
        first, second = (samples[k][:, begin - both.start[k] : end - both.start[k]] for k in (i, i + 1))
        norms = [float(np.linalg.norm(readout)) for readout in (first, second)]
        product += float(np.vdot(first, second).real)
        energy += norms[0] * norms[1]
        gains.append(norms[1] / norms[0])
    return product / energy if energy else 1.0, float(np.median(gains))


def line_samples(raw: RawScan, lines: Lines) -> list[NDArray[np.complex128]]:
    """The used samples of located readouts in the forward direction, ``(coils, samples)`` each."""
    samples = [np.empty((0, 0), np.complex128)] * len(lines.row)
    n_stored = raw.heads["number_of_samples"][lines.row]
    for length in np.unique(n_stored):
        alike = np.flatnonzero(n_stored == length)
        rows, position = np.unique(lines.row[alike], return_inverse=True)
        for i, readout in zip(alike, raw.unspoiled_samples(rows)[position], strict=True):
            used = readout[:, lines.skip[i] : lines.skip[i] + lines.n_samples[i]].astype(np.complex128)
            samples[i] = used[:, ::-1] if lines.reverse[i] else used
    return samples
