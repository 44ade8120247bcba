"""Where the data themselves say that the centre of k-space lies: the line of most signal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag

N_PROBES = 2
"""Readouts of each line that are looked at."""
HALF_ECHO = 8
"""Samples to each side of the echo centre that are looked at."""
NEAR = 3
"""Lines by which the strongest line may miss the centre: a smooth phase of the image moves it a little."""
CLEARLY = 4.0
"""Power of the strongest line over that at the header's centre which says that the header is wrong."""


def middle_slice(raw: RawScan, rows: Index) -> Index:
    """Those of some readouts that belong to the middle slice, where there is most to see."""
    slices = raw.heads["idx"]["slice"][rows]
    present = np.unique(slices)
    return rows[slices == present[len(present) // 2]]


@dataclass(frozen=True, eq=False)
class Probe:
    """The lines that occur in a slice, and the power of each around its echo, both ``(lines,)``."""

    lines: Index
    power: NDArray[np.float64]

    @property
    def largest_sample(self) -> float:
        """About the size of the largest sample."""
        return float(np.sqrt(self.power.max()))


def probe_lines(raw: RawScan, rows: Index) -> Probe:
    """Look at a few readouts of each line.

    Parameters
    ----------
    raw
        The scan.
    rows
        Row numbers of readouts, of one slice.
    """
    numbers = raw.heads["idx"]["kspace_encode_step_1"].astype(np.intp)
    order = np.argsort(numbers[rows], kind="stable")
    lines, first, counts = np.unique(numbers[rows][order], return_index=True, return_counts=True)
    probes = np.unique(np.concatenate([rows[order[first + np.minimum(n, counts - 1)]] for n in range(N_PROBES)]))
    power, found = np.zeros(len(lines)), np.zeros(len(lines))
    heads = raw.heads[probes]
    layout = np.stack([heads["number_of_samples"], heads["center_sample"], has_flag(heads, 22)], 1).astype(np.intp)
    for n_samples, centre, is_reverse in np.unique(layout, axis=0):
        alike = probes[(layout == (n_samples, centre, is_reverse)).all(1)]
        samples = raw.samples(alike)[..., :: -1 if is_reverse else 1]
        echo = samples[..., max(centre - HALF_ECHO, 0) : centre + HALF_ECHO + 1].astype(np.complex128)
        place = np.searchsorted(lines, numbers[alike])
        np.add.at(power, place, (np.abs(echo) ** 2).sum((1, 2)))
        np.add.at(found, place, 1)
    return Probe(lines, power / np.maximum(found, 1))


def stronger_line(probe: Probe, centre: int) -> int | None:
    """The line of most signal, where it lies away from a claimed centre and is clearly stronger; else None."""
    distance, power = np.abs(probe.lines - centre), probe.power
    strongest = int(power.argmax())
    at_centre = power[distance <= max(1, int(distance.min()))].max()  # of its next neighbours where it was left out
    if distance[strongest] <= NEAR or power[strongest] <= CLEARLY * at_centre:
        return None
    return int(probe.lines[strongest])
