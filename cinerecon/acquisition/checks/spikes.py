"""Removal of spikes, i.e. single samples that are much larger than the same and adjacent lines in other frames."""

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.placement import Lines
from cinerecon.acquisition.readouts.subset import Warn
from cinerecon.io.ismrmrd.raw import RawScan

SPIKE_RATIO = 20.0
"""Ratio of the largest sample of a readout to that of its line and adjacent lines in other frames above which it is a
spike."""
MAX_SPIKE_FRACTION = 0.01
"""Largest fraction of readouts with spikes; a larger fraction has another cause."""
MIN_SPIKE_FRAMES = 3
"""Smallest number of readouts of a line for the comparison."""


def without_spikes(raw: RawScan, lines: Lines, warn: Warn) -> Lines:
    """Exclude readouts with a sample much larger than those of the same and adjacent lines in other frames."""
    amplitude = raw.amplitude[lines.row]
    is_spike = np.zeros(len(lines.row), bool)
    for number in np.unique(lines.slices):
        rows = np.flatnonzero(lines.slices == number)
        is_spike[rows] = find_spikes(lines.ky[rows], amplitude[rows])
    if not are_single(is_spike):
        return lines
    first = int(np.flatnonzero(is_spike)[0])
    warn(
        f"{int(is_spike.sum())} of {len(is_spike)} readouts contain a sample more than {SPIKE_RATIO:g} times as "
        f"large as in other frames, such as acquisition {lines.row[first]}: these spikes are treated as not "
        "measured"
    )
    return lines.where(~is_spike)


def find_spikes(ky: NDArray[np.intp], amplitude: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the largest sample of each readout of a slice is a spike; all arrays are ``(readouts,)``."""
    return np.asarray(amplitude > SPIKE_RATIO * _usual_amplitude(ky, amplitude))


def are_single(is_spike: NDArray[np.bool_]) -> bool:
    """Whether there are spikes, but so few that they have no other cause."""
    return bool(0 < is_spike.sum() <= max(MAX_SPIKE_FRACTION * len(is_spike), 1))


def _usual_amplitude(ky: NDArray[np.intp], amplitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest median amplitude of the line of each readout and of adjacent lines; infinite with few readouts."""
    different, inverse, counts = np.unique(ky, return_inverse=True, return_counts=True)
    medians = np.array([np.median(amplitude[inverse == i]) for i in range(len(different))])
    medians[counts < MIN_SPIKE_FRAMES] = 0.0  # one of two readouts may be the spike
    padded = np.pad(medians, 1)
    usual = np.maximum(np.maximum(padded[:-2], padded[2:]), medians)
    usual[usual == 0] = np.inf
    return np.asarray(usual[inverse])
