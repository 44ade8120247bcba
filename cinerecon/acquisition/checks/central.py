"""The readouts of a slice near the centre of k-space, from a raw scan or an array, which most checks compare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.layout import ScanLayout
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.axes import centre_slice
from cinerecon.io.ismrmrd.raw import REVERSE, Index
from cinerecon.words import name_frames

if TYPE_CHECKING:
    from torch import Tensor

Samples = NDArray[np.complexfloating[Any, Any]]

MAX_DISTANCE, MAX_READOUTS = 1, 24
"""Largest distance from the centre of k-space, and largest number of readouts, of `CentralReadouts.first`."""
PHASE_DISTANCE, MAX_FRAMES = 4, 32
"""Largest distance from the centre of k-space, and largest number of frames per line, of `CentralReadouts.near`."""
PATCH_DISTANCE, MAX_PATCH_FRAMES = 12, 4
"""Largest distance from the centre of k-space, and largest number of frames per line, of `CentralReadouts.around`."""
OUTER_LINES, OUTER_COLUMNS = 0.7, 0.6
"""Distances from the centre, relative to the extents of ky and kx, beyond which samples give the power of the noise."""
N_OUTER = 32
"""Largest number of readouts that give the power of the noise."""
N_CENTRAL = 32
"""Number of central columns whose energy is compared with that of the noise."""
MIN_ENERGY_RATIO = 3.0
"""Smallest ratio of the energy of a readout, or of a coil, to that of its noise for comparisons between frames; with
less, differences of phase, gain and position are mostly noise."""


class CentralLines(NamedTuple):
    """A subset of the readouts of a slice.

    Attributes
    ----------
    indices
        ``(readouts,)`` indices into the readouts of the slice.
    samples
        ``(readouts, coils, kx)`` samples.
    frames, ky
        ``(readouts,)`` frame and line of each readout; ky is counted from the centre.
    """

    indices: Index
    samples: Samples
    frames: Index
    ky: Index


@dataclass(frozen=True, eq=False)
class CentralReadouts:
    """The readouts of a slice; those near the centre of k-space are read when a check needs them.

    Attributes
    ----------
    frames, ky
        ``(readouts,)`` frame and line of each readout; ky is counted from the centre.
    coils
        ``(coils,)`` indices of the coils in the scan.
    read
        Reads the readouts at the given indices, ``(readouts, coils, kx)``.
    n_columns
        Number of columns of the image.
    rows, is_reversed
        ``(readouts,)`` row numbers in a raw scan, and whether readouts are flagged as reversed; None for arrays.
    max_frames
        Largest number of frames whose lines are compared.
    """

    frames: Index
    ky: Index
    coils: Index
    read: Callable[[Index], Samples]
    n_columns: int
    rows: Index | None = None
    is_reversed: NDArray[np.bool_] | None = None
    max_frames: int = MAX_FRAMES

    @cached_property
    def first(self) -> CentralLines:
        """The lines next to the centre in the first frames."""
        near = np.flatnonzero(np.abs(self.ky) <= MAX_DISTANCE)
        order = np.argsort(self.frames[near], kind="stable")[:MAX_READOUTS]
        return self._lines(near[np.sort(order)])

    @cached_property
    def near(self) -> CentralLines:
        """The lines whose phase, gain and position are compared between frames, spread over the cine.

        Lines that are mostly noise are left out.
        """
        return self.with_signal(self._lines(self.spread_over_frames(PHASE_DISTANCE, self.max_frames)))

    @cached_property
    def noise_power(self) -> NDArray[np.float64]:
        """Power of the noise of each coil, ``(coils,)``, at the edges of k-space; too large if there is signal.

        This upper limit requires few readouts. The calibrated estimate of `physics.noise` uses all readouts of a slice,
        and PyTorch, which commands such as ``inspect`` do not import.
        """
        distance = np.abs(self.ky)
        outer = np.flatnonzero(distance >= OUTER_LINES * distance.max(initial=0))
        if not outer.size:
            return np.zeros(len(self.coils))
        chosen = np.unique(np.linspace(0, len(outer) - 1, N_OUTER).round().astype(np.intp))
        power = np.abs(self.read(outer[chosen])) ** 2
        columns = np.flatnonzero(power.any((0, 1)))  # those of asymmetric echoes that were measured
        column_distance = np.abs(columns - power.shape[-1] // 2)
        edges = columns[column_distance >= OUTER_COLUMNS * column_distance.max(initial=0)]
        return np.asarray(np.median(power[..., edges].mean(-1), axis=0) if edges.size else np.zeros(len(self.coils)))

    def energy_ratio(self, samples: Samples) -> NDArray[np.float64]:
        """Ratio of the energy of the central columns of readouts to that of noise, ``(readouts, coils)``."""
        power = np.abs(samples[..., centre_slice(samples.shape[-1], N_CENTRAL)]) ** 2
        return np.asarray(power.mean(-1) / np.maximum(self.noise_power, np.finfo(np.float32).tiny))

    @cached_property
    def around(self) -> CentralLines:
        """More lines around the centre in few frames, for the comparison of adjacent lines."""
        return self._lines(self.spread_over_frames(PATCH_DISTANCE, MAX_PATCH_FRAMES))

    def with_signal(self, lines: CentralLines) -> CentralLines:
        """The lines that are not mostly noise."""
        has_signal = self.energy_ratio(lines.samples).mean(1) > MIN_ENERGY_RATIO
        return lines if has_signal.all() else CentralLines(*(part[has_signal] for part in lines))

    def exclusion(self, coils: Index) -> str:
        """Text with the option that excludes coils; empty for arrays, which have no such option."""
        listed, pronoun = ",".join(map(str, coils)), "them" if len(coils) > 1 else "it"
        return "" if self.rows is None else f"; --set preprocessing.exclude_coils=[{listed}] excludes {pronoun}"

    def spread_over_frames(self, distance: int, n_frames: int) -> Index:
        """Indices of readouts of each line near the centre, from frames spread evenly over the cine."""
        near = np.flatnonzero(np.abs(self.ky) <= distance)
        readouts = near[np.lexsort((self.frames[near], self.ky[near]))]  # sorted by line, then by frame
        _, first, count = np.unique(self.ky[readouts], return_index=True, return_counts=True)
        positions = first[:, None] + np.linspace(0, count - 1, n_frames, axis=1).round().astype(np.intp)
        return np.asarray(readouts[positions[np.diff(positions, axis=1, prepend=-1) > 0]])

    def _lines(self, index: Index) -> CentralLines:
        return CentralLines(index, self.read(index), self.frames[index], self.ky[index])


def frame_warnings(frames: list[int], text: str) -> Iterator[str]:
    """A warning that names frames; no warning if there are none."""
    if frames:
        yield f"{name_frames(frames)}: {text}"


def central_of_scan(layout: ScanLayout, number: int, max_frames: int = MAX_FRAMES) -> CentralReadouts:
    """The central readouts of one slice of a raw scan.

    Readouts with samples that are not finite are omitted: they are refused when their slice is read.
    """
    own = layout.lines.of_slice(number)
    own = own.where(layout.raw.is_readable(own.row))
    return CentralReadouts(
        frames=own.frames,
        ky=own.ky - layout.grid.ky // 2,
        coils=layout.coils,
        read=lambda index: layout.samples(own.where(index)),
        n_columns=layout.grid.x,
        rows=own.row,
        is_reversed=Readouts(layout.raw, own.row).has_flag(REVERSE),
        max_frames=max_frames,
    )


def central_of_array(kspace: "Tensor", mask: "Tensor", n_columns: int) -> CentralReadouts:
    """The central readouts of a slice in an array.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, 1)``
    n_columns
        Number of columns of the image.
    """
    frames, rows = mask[:, 0, :, 0].nonzero().numpy().T
    return CentralReadouts(
        frames=frames,
        ky=rows - kspace.shape[-2] // 2,
        coils=np.arange(kspace.shape[1]),
        read=lambda index: kspace[frames[index], :, rows[index]].numpy(),
        n_columns=n_columns,
    )
