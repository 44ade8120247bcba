"""Some readouts of a scan, such as those of the image: their headers and counters, and warnings about them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import Heads, Index, RawScan

Warn = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Readouts:
    """Some readouts of a scan. Their headers may be changed in place, through those of the scan.

    Attributes
    ----------
    raw
        The scan.
    rows
        ``(readouts,)`` their numbers in it.
    warn
        Called with each warning about them.
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

    @property
    def heads(self) -> Heads:
        """``(readouts,)`` a copy of their headers."""
        return self.raw.heads[self.rows]

    def counter(self, name: str) -> NDArray[np.int64]:
        """``(readouts,)`` the values of a counter."""
        values: NDArray[np.int64] = self.raw.heads["idx"][name][self.rows].astype(np.int64)
        return values

    @property
    def lines(self) -> NDArray[np.int64]:
        """``(readouts,)`` the numbers of their lines."""
        return self.counter("kspace_encode_step_1")

    def samples(self) -> NDArray[np.complex64]:
        """``(readouts, coils, samples)`` their samples; all of the same size."""
        return self.raw.samples(self.rows)

    def n_values(self, name: str) -> int:
        """Number of different values of a counter."""
        return len(np.unique(self.raw.heads["idx"][name][self.rows]))

    @property
    def encoding(self) -> EncodingSpace:
        """The first encoding of the header; after `conventions.standardise` the one that is reconstructed."""
        return self.raw.header.encoding

    def with_raw(self, raw: RawScan) -> Self:
        """The same readouts of another version of the scan."""
        return replace(self, raw=raw)

    def with_encoding(self, encoding: EncodingSpace) -> Self:
        """The same readouts with another first encoding, the only one in the header."""
        return self.with_raw(self.raw.with_encodings(encoding))

    def where(self, chosen: NDArray[np.bool_] | Index) -> Self:
        """The readouts for which ``chosen``, ``(readouts,)``, is True, or those at these indices."""
        return replace(self, rows=self.rows[chosen])

    def middle_slice(self) -> Self:
        """The readouts of the middle slice, which has the most signal."""
        slices = self.counter("slice")
        present = np.unique(slices)
        return self.where(slices == present[len(present) // 2])

    def groups(self, *names: str) -> Iterator[tuple[NDArray[np.bool_], Self]]:
        """The readouts with equal values of fields of their headers: which of these readouts, and they alone."""
        values = np.stack([self.raw.heads[name][self.rows] for name in names], 1).astype(np.int64)
        for kind in np.unique(values, axis=0):
            is_alike = (values == kind).all(1)
            yield is_alike, self.where(is_alike)
