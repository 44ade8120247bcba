"""Checks of the amplitudes of readouts: saturation, and frames or lines with a different gain.

The largest sample of a line hardly changes from frame to frame, and the energy of the lines changes smoothly from line
to line. The gain changes abruptly if calibration lines of another contrast are used as image lines, or if parts of the
data were scaled separately.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cinerecon.acquisition.checks.central import CentralReadouts, central_of_scan
from cinerecon.acquisition.layout import ScanLayout
from cinerecon.words import name_frames

MIN_FRAMES = 3
"""Smallest number of frames whose gains are compared."""
LIMIT_SHARE = 0.999
"""Fraction of the largest real or imaginary part of a coil above which a sample is at the limit of the receiver."""
MIN_AT_LIMIT = 4
"""Smallest number of k-space positions at the limit for a saturated receiver; other receivers have 1 or 2."""
MAX_USUAL_PART = 0.5
"""Largest ratio of the median sample to the limit; above it all samples are large, as for a point source."""
FRAME_GAIN = 1.5
"""Amplitude ratio between a frame and the same lines in other frames, or its inverse, from which it is reported."""
NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of normally distributed numbers, relative to their standard deviation."""
N_STRONGEST, AGREEING_QUANTILE = 8, 0.25
"""Number of the strongest lines that are compared one by one, and quantile of their ratios that must differ from 1 if
the gain of a frame is different; motion changes some of the central lines as much, but not all."""
READOUT_GAIN = 0.15
"""Relative standard deviation of the amplitude of a line from frame to frame from which a varying gain is reported: at
most 0.05 in intact scans."""
MIN_TRIPLES, ABOVE_WEAKEST = 16, 8.0
"""Smallest number of triples of frames for it, and smallest ratio of the lines to the weakest ones, which are noise."""
MIN_SHARED_FRACTION = 0.5
"""Smallest fraction of the frames that must measure a line for it to be compared between frames."""
N_LEVEL_FRAMES = 3
"""Number of readouts of each line whose energies are compared with those of adjacent lines."""
N_READ = 64
"""Number of readouts whose energies are computed at a time."""
STEP_RATIO = 1.6
"""Amplitude ratio of adjacent lines, relative to that of the surrounding lines, that is considered a gain step."""
SINGLE_STEP_RATIO = 4.0
"""The same ratio for a step without a step of the opposite sign."""
CENTRE_HALF_WIDTH = 2
"""Number of lines on each side of the centre of k-space where amplitudes change steeply."""
STEP_WINDOW = 3
"""Number of lines on each side of a step whose changes are compared with it, and largest distance across a step."""
LEVEL_SHARE = 0.7
"""Smallest difference between the lines before and after a step, relative to the step; it is smaller for a single line
whose signal differs from that of the surrounding lines."""
MAX_BLOCK = 2 / 3
"""Largest length of such a block relative to k-space; the few lines outside of a longer one are no basis for its
gain."""
MAX_STEP_DIFFERENCE = 0.5
"""Largest difference between the logarithms of the steps at the two ends of a block of lines."""


def saturation_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning if samples were clipped at the limit of the receiver.

    K-space has a sharp maximum. If it was clipped, samples at several positions have the same largest real or imaginary
    part.
    """
    _, samples, _, ky = central.near
    if not samples.size:
        return
    parts = np.maximum(np.abs(samples.real), np.abs(samples.imag))
    limit = parts.max((0, 2), keepdims=True)
    is_steep = np.median(parts, (0, 2), keepdims=True) < MAX_USUAL_PART * limit
    is_at_limit = (parts >= LIMIT_SHARE * limit) & is_steep
    positions = [is_at_limit[ky == line].any(0).sum(-1) for line in np.unique(ky)]  # (coils,) each
    largest = int(np.sum(positions, axis=0).max())
    if largest >= MIN_AT_LIMIT:
        yield (
            f"samples at {largest} positions around the centre of k-space have the same maximum value: the "
            "receiver was saturated; do not trust the image"
        )


def gain_warnings(layout: ScanLayout) -> Iterator[str]:
    """Warnings about frames and blocks of lines whose amplitudes differ from the others by a factor."""
    if layout.gating.is_retro:
        return
    grid = layout.grid
    for number in range(layout.n_slices):
        own = layout.lines.of_slice(number)
        amplitude = layout.raw.amplitude[own.row]
        table = np.full((layout.counters.n_frames[number], grid.ky), np.nan)
        table[own.frames, own.ky] = np.where((amplitude > 0) & np.isfinite(amplitude), amplitude, np.nan)
        is_calibration = np.zeros(grid.ky, bool)
        is_calibration[own.ky[np.isin(own.row, layout.selection.calibration)]] = True
        where = f" of slice {number}" if layout.n_slices > 1 else ""
        yield from frame_gain_warnings(table, where)
        yield from readout_gain_warnings(table, where)
        levels = line_levels(central_of_scan(layout, number), grid.ky)
        yield from line_gain_warnings(levels, is_calibration, grid.first_row, where)


def line_levels(readouts: CentralReadouts, n_rows: int) -> NDArray[np.float64]:
    """Root of the energy of each line, as the median over a few frames, ``(ky,)``; NaN if a line was not measured."""
    index, levels = readouts.spread_over_frames(n_rows, N_LEVEL_FRAMES), np.full(n_rows, np.nan)
    blocks = (index[start : start + N_READ] for start in range(0, len(index), N_READ))
    norms = np.concatenate([np.empty(0), *(np.linalg.norm(readouts.read(block), axis=(1, 2)) for block in blocks)])
    rows = readouts.ky[index] + n_rows // 2
    for row in np.unique(rows):
        levels[row] = np.median(norms[rows == row])
    return np.where(levels > 0, levels, np.nan)


def frame_gain_warnings(table: NDArray[np.float64], where: str = "") -> Iterator[str]:
    """A warning about frames with a different gain.

    Parameters
    ----------
    table
        ``(frames, ky)`` largest sample of each line; NaN if it was not measured.
    where
        Text that names the slice.
    """
    is_shared = np.isfinite(table).mean(0) >= MIN_SHARED_FRACTION
    if len(table) < MIN_FRAMES or not is_shared.any():
        return
    shared = table[:, is_shared]
    has_lines = np.isfinite(shared).any(1)
    ratio = np.ones(len(table))
    usual = np.nanquantile(shared, 0.5, axis=0, method="lower")
    ratio[has_lines] = np.nanmedian(shared[has_lines] / usual, axis=1)
    strongest = np.argsort(usual)[-N_STRONGEST:]
    is_outside = (ratio > FRAME_GAIN) | (ratio < 1 / FRAME_GAIN)
    agrees = [_agree_on_gain(shared[frame, strongest] / usual[strongest], ratio[frame]) for frame in range(len(ratio))]
    differing = np.flatnonzero(is_outside & agrees)
    if differing.size:
        most = ratio[differing[np.abs(np.log(ratio[differing])).argmax()]]
        yield (
            f"{name_frames(differing.tolist())}{where} of {len(table)}: {most:.2g} times the amplitude of the "
            "others: different gain or contrast, or not in the steady state"
        )


def readout_gain_warnings(table: NDArray[np.float64], where: str = "") -> Iterator[str]:
    """A warning about a gain that varies from readout to readout; parameters as for `frame_gain_warnings`.

    The amplitude of each of the strongest lines is compared with its mean in the frames before and after, since motion
    and the approach to the steady state change it smoothly.
    """
    is_shared = np.isfinite(table).mean(0) >= MIN_SHARED_FRACTION
    if len(table) < MIN_FRAMES or not is_shared.any():
        return
    shared = table[:, is_shared]
    usual = np.nanquantile(shared, 0.5, axis=0, method="lower")
    strongest = np.argsort(usual)[-N_STRONGEST:]
    strongest = strongest[usual[strongest] > ABOVE_WEAKEST * np.nanquantile(table, 0.1)]
    level = np.log(shared[:, strongest])
    level = level[np.isfinite(level).any(1)]
    level = level - np.nanmedian(level - np.log(usual[strongest]), axis=1, keepdims=True)  # the gain of the frames
    changes = np.abs(level[1:-1] - (level[:-2] + level[2:]) / 2)
    changes = changes[np.isfinite(changes)]
    if len(changes) < MIN_TRIPLES:
        return
    deviation = float(np.median(changes)) / (NORMAL_MEDIAN * 1.5**0.5)  # the mean of two frames also varies
    if deviation > READOUT_GAIN:
        yield (
            f"the amplitude of the same line varies by about {deviation:.0%} from frame to frame{where}: a gain that "
            "changes between readouts? do not trust the image"
        )


def _agree_on_gain(ratios: NDArray[np.float64], gain: float) -> bool:
    """Whether the ratios of most lines, NaN where not measured, differ from 1 in the direction of the gain."""
    changes = np.sort(np.log(ratios[np.isfinite(ratios)]) * np.sign(np.log(gain)))
    least = changes[int(AGREEING_QUANTILE * (len(changes) - 1))] if len(changes) else np.inf
    return bool(least > np.log(FRAME_GAIN) / 2)


def line_gain_warnings(
    levels: NDArray[np.float64], calibration: NDArray[np.bool_] | None = None, first_row: int = 0, where: str = ""
) -> Iterator[str]:
    """A warning about a block of lines around the centre with opposite steps at its ends, or about one large step.

    Parameters
    ----------
    levels
        ``(ky,)`` levels of the lines, see `line_levels`.
    calibration
        ``(ky,)`` bool, lines flagged as calibration, if known; smaller steps are reported at the ends of blocks of
        them.
    first_row
        Row of line 0.
    where
        Text that names the slice.
    """
    centre = len(levels) // 2
    ky = np.flatnonzero(np.isfinite(levels))
    if len(ky) < 4 * STEP_WINDOW:
        return
    calibration = np.zeros(len(levels), bool) if calibration is None else calibration
    amplitude = np.log(levels[ky])
    is_end = calibration[ky][1:] != calibration[ky][:-1]
    steps = _steps(amplitude, ky, ky - centre, is_end)
    before = np.flatnonzero((steps != 0) & (ky[:-1] < centre))
    after = np.flatnonzero((steps != 0) & (ky[:-1] >= centre))
    for i in before:
        for j in after:
            is_part = ky[j] - ky[i] <= MAX_BLOCK * len(levels)
            if is_part and steps[i] * steps[j] < 0 and abs(steps[i] + steps[j]) < MAX_STEP_DIFFERENCE:
                first, last = ky[i + 1] - first_row, ky[j] - first_row
                yield (
                    f"lines {first} to {last}{where} have about {np.exp((steps[i] - steps[j]) / 2):.2g} times the "
                    "amplitude expected from adjacent lines: calibration lines with a different contrast or "
                    "gain? do not trust the image"
                )
                return
    largest = int(np.abs(steps).argmax())
    if abs(steps[largest]) > np.log(SINGLE_STEP_RATIO) and _is_change_of_level(amplitude, ky, largest, steps[largest]):
        yield (
            f"the amplitude changes {np.exp(abs(steps[largest])):.2g}-fold between lines "
            f"{ky[largest] - first_row} and {ky[largest + 1] - first_row}{where}: a different gain? do not trust "
            "the image"
        )


def _is_change_of_level(amplitude: NDArray[np.float64], ky: NDArray[np.intp], i: int, step: float) -> bool:
    """Whether the median levels before and after line ``i`` differ by its step, beyond the usual change."""
    first, last = max(i + 1 - STEP_WINDOW, 0), i + 1 + STEP_WINDOW
    rates = np.delete(np.diff(amplitude[first:last]) / np.diff(ky[first:last]), i - first)
    levels, places = ([np.median(values[first : i + 1]), np.median(values[i + 1 : last])] for values in (amplitude, ky))
    change = levels[1] - levels[0] - np.median(rates) * (places[1] - places[0])
    return bool(change * np.sign(step) >= LEVEL_SHARE * abs(step))


def _steps(
    amplitude: NDArray[np.float64], ky: NDArray[np.intp], from_centre: NDArray[np.intp], is_end: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Steps of the logarithm of the amplitude from each line to the next, ``(lines - 1,)``; 0 where it is smooth."""
    distance = np.diff(ky)
    rate = np.diff(amplitude) / distance
    is_far = distance > STEP_WINDOW
    is_steep = (np.abs(from_centre[:-1]) <= CENTRE_HALF_WIDTH) | (np.abs(from_centre[1:]) <= CENTRE_HALF_WIDTH)
    around = sliding_window_view(np.pad(rate, STEP_WINDOW, constant_values=np.nan), 2 * STEP_WINDOW + 1)
    around = np.sort(np.delete(around, STEP_WINDOW, axis=1), axis=1)  # NaN beyond the first and last line is last
    n, row = np.isfinite(around).sum(1), np.arange(len(around))
    usual = (around[row, (n - 1) // 2] + around[row, n // 2]) / 2
    steps = (rate - usual) * distance
    spread = np.where(is_end, 0.0, np.maximum(usual - around[:, 0], around[row, n - 1] - usual) * distance)
    return np.where(~is_far & ~is_steep & (np.abs(steps) - spread > np.log(STEP_RATIO)), steps, 0.0)
