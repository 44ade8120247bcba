"""A subset of the readouts of a scan: headers, counters, warnings, and the signal of their lines."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import REVERSE, Index, RawScan, has_flag

Warn = Callable[[str], None]

PROBES_PER_LINE = 2
"""Number of readouts of each line that are examined."""
ECHO_HALF_WIDTH = 8
"""Samples on each side of the echo centre that are examined."""
CENTRE_TOLERANCE = 3
"""Largest distance of the strongest line from the centre [lines]; a smooth image phase shifts it slightly."""
PEAK_POWER_RATIO = 4.0
"""Ratio of the power of the strongest line to that of the centre line in the header above which the header is wrong."""


@dataclass(frozen=True, eq=False)
class Readouts:
    """A subset of the readouts of a scan. Their headers may be changed in place through those of the scan.

    Attributes
    ----------
    raw
        The scan.
    rows
        ``(readouts,)`` row numbers of the readouts in the scan.
    warn
        Called with each warning about the readouts.
    """

    raw: RawScan
    rows: Index
    warn: Warn = lambda _: None

    def __len__(self) -> int:
        """Number of readouts."""
        return len(self.rows)

    @property
    def path(self) -> str:
        """The file, for messages."""
        return str(self.raw.path)

    def at(self, i: int | np.integer) -> str:
        """File and number of one of the readouts, for messages."""
        return self.raw.at(self.rows[i])

    def field(self, name: str) -> NDArray[Any]:
        """``(readouts, ...)`` values of a field of their headers."""
        return np.asarray(self.raw.heads[name][self.rows])

    def has_flag(self, *numbers: int) -> NDArray[np.bool_]:
        """``(readouts,)`` whether they have at least one of the flags."""
        return np.asarray(has_flag(self.raw.heads, *numbers)[self.rows])

    def counter(self, name: str) -> NDArray[np.int64]:
        """``(readouts,)`` values of a counter."""
        values: NDArray[np.int64] = self.raw.heads["idx"][name][self.rows].astype(np.int64)
        return values

    @property
    def lines(self) -> NDArray[np.int64]:
        """``(readouts,)`` line numbers."""
        return self.counter("kspace_encode_step_1")

    def samples(self) -> NDArray[np.complex64]:
        """``(readouts, coils, samples)`` samples; all readouts must have the same size."""
        return self.raw.samples(self.rows)

    def n_values(self, name: str) -> int:
        """Number of distinct values of a counter."""
        return len(np.unique(self.raw.heads["idx"][name][self.rows]))

    @property
    def encoding(self) -> EncodingSpace:
        """The first encoding of the header; after `conventions.standardise`, the reconstructed one."""
        return self.raw.header.encoding

    def with_raw(self, raw: RawScan) -> Self:
        """The same readouts in another version of the scan."""
        return replace(self, raw=raw)

    def with_encoding(self, encoding: EncodingSpace) -> Self:
        """The same readouts with ``encoding`` as the only encoding in the header."""
        return self.with_raw(self.raw.with_encodings(encoding))

    def where(self, chosen: NDArray[np.bool_] | Index) -> Self:
        """The readouts for which ``chosen``, ``(readouts,)``, is True, or the readouts at these indices."""
        return replace(self, rows=self.rows[chosen])

    def readable(self) -> Self:
        """The readouts with finite samples; all readouts if there are none.

        Others are refused when their slice is read. Until then they are not examined, so that other slices can be read.
        """
        is_readable = self.raw.is_readable(self.rows)
        return self.where(is_readable) if is_readable.any() else self

    def middle_slice(self) -> Self:
        """The readable readouts of the middle slice, which has the most signal."""
        readable = self.readable()
        slices = readable.counter("slice")
        present = np.unique(slices)
        return readable.where(slices == present[len(present) // 2])

    def groups(self, *names: str) -> Iterator[tuple[NDArray[np.bool_], Self]]:
        """The readouts grouped by equal header fields: the selection as booleans, and the selected readouts."""
        values = np.stack([self.field(name) for name in names], 1).astype(np.int64)
        kinds = values[:1] if (values == values[:1]).all() else np.unique(values, axis=0)
        for kind in kinds:
            is_alike = (values == kind).all(1)
            yield is_alike, self.where(is_alike)


@dataclass(frozen=True, eq=False)
class Probe:
    """The lines that occur in a slice, and the power of each line around its echo, both ``(lines,)``."""

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
    sizes = [probes.field("number_of_samples"), probes.field("center_sample"), probes.has_flag(REVERSE)]
    layout = np.stack(sizes, 1).astype(np.intp)
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
    at_centre = power[distance <= max(1, int(distance.min()))].max()  # centre or nearest lines
    if distance[strongest] <= CENTRE_TOLERANCE or power[strongest] <= PEAK_POWER_RATIO * at_centre:
        return None
    return int(probe.lines[strongest])
