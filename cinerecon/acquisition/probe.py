"""The signal of the lines of a slice, from a few readouts, and the line with the most signal: the centre of k-space."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts import Readouts
from cinerecon.io.ismrmrd.raw import REVERSE, Index, has_flag

PROBES_PER_LINE = 2
"""Number of readouts of each line that are examined."""
ECHO_HALF_WIDTH = 8
"""Samples on each side of the echo centre that are examined."""
CENTRE_TOLERANCE = 3
"""Largest distance of the strongest line from the centre [lines]: a smooth image phase shifts it slightly."""
PEAK_POWER_RATIO = 4.0
"""Ratio of the power of the strongest line to that at the centre in the header above which the header is wrong."""


@dataclass(frozen=True, eq=False)
class Probe:
    """The lines that occur in a slice, and the power of each around its echo, both ``(lines,)``."""

    lines: Index
    power: NDArray[np.float64]

    @property
    def largest_sample(self) -> float:
        """Approximate magnitude of the largest sample."""
        return float(np.sqrt(self.power.max()))


def probe_lines(readouts: Readouts) -> Probe:
    """Measure the power of each line around its echo in a few of the readouts."""
    order = np.argsort(readouts.lines, kind="stable")
    lines, first, counts = np.unique(readouts.lines[order], return_index=True, return_counts=True)
    chosen = [order[first + np.minimum(n, counts - 1)] for n in range(PROBES_PER_LINE)]
    probes = readouts.where(np.unique(np.concatenate(chosen)))
    power, counted = np.zeros(len(lines)), np.zeros(len(lines))
    heads = probes.heads
    layout = np.stack([heads["number_of_samples"], heads["center_sample"], has_flag(heads, REVERSE)], 1).astype(np.intp)
    for n_samples, centre, is_reverse in np.unique(layout, axis=0):
        alike = probes.where((layout == (n_samples, centre, is_reverse)).all(1))
        samples = alike.samples()[..., :: -1 if is_reverse else 1]
        echo = samples[..., max(centre - ECHO_HALF_WIDTH, 0) : centre + ECHO_HALF_WIDTH + 1].astype(np.complex128)
        index = np.searchsorted(lines, alike.lines)
        np.add.at(power, index, (np.abs(echo) ** 2).sum((1, 2)))
        np.add.at(counted, index, 1)
    return Probe(lines, power / np.maximum(counted, 1))


def stronger_line(probe: Probe, centre: int) -> int | None:
    """The line with the most signal if it is far from an assumed centre and clearly stronger, otherwise None."""
    distance, power = np.abs(probe.lines - centre), probe.power
    strongest = int(power.argmax())
    at_centre = power[distance <= max(1, int(distance.min()))].max()  # or of the nearest lines
    if distance[strongest] <= CENTRE_TOLERANCE or power[strongest] <= PEAK_POWER_RATIO * at_centre:
        return None
    return int(probe.lines[strongest])
