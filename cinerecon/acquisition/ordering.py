"""Where each readout goes: its row and columns on the encoded grid, its slice and frame."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.counters import Counters, Warn
from cinerecon.acquisition.grid import Grid
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag

SHORTEST_ECHO = 0.4
"""The least part of the readout that an asymmetric echo covers; less says that the header has another scan's matrix."""

PILOT_TONE = (3, 1)
"""Samples at the begin and the end of each readout that the pilot tone spoils."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Where each image readout goes, all ``(readouts,)``.

    Attributes
    ----------
    row
        Number of the readout in the file.
    ky
        Row of the encoded grid.
    start, n_samples
        Column of the encoded grid of the first sample kept, and how many are kept.
    skip
        Samples before the first one kept, in the order they were stored.
    reverse
        Whether the samples run backwards.
    slices, frames
        Counted from 0.
    """

    row: Index
    ky: Index
    start: Index
    n_samples: Index
    skip: Index
    reverse: NDArray[np.bool_]
    slices: Index
    frames: Index

    def of_slice(self, number: int) -> "Lines":
        """The readouts of one slice."""
        return self.where(self.slices == number)

    def where(self, chosen: NDArray[np.bool_]) -> "Lines":
        """Some of the readouts, ``(readouts,)`` of them chosen."""
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})

    def joined(self, *others: "Lines") -> "Lines":
        """These readouts and those of others, in the order of the file."""
        parts = (self, *others)
        order = np.argsort(np.concatenate([part.row for part in parts]), kind="stable")
        return replace(
            self, **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in vars(self)}
        )

    def in_one_frame(self) -> "Lines":
        """The same readouts, all of frame 0."""
        return replace(self, frames=np.zeros_like(self.frames))

    def mask(self, n_frames: int, ky: int) -> Tensor:
        """Which rows of the grid each frame measures, ``(frames, 1, ky, 1)``; for the readouts of one slice."""
        mask = torch.zeros(n_frames, 1, ky, 1, dtype=torch.bool)
        mask[self.frames, 0, self.ky, 0] = True
        return mask


def place_lines(raw: RawScan, image: Index, counters: Counters, grid: Grid, warn: Warn) -> Lines:
    """Place every image readout by its line number and its own echo centre.

    Raises
    ------
    DataError
        If a readout does not fit the encoded grid.
    """
    lines = locate_lines(raw, image, counters, grid, warn)
    require_placement(raw, image, lines.start, lines.n_samples, grid.kx)
    return lines


def locate_lines(raw: RawScan, image: Index, counters: Counters, grid: Grid, warn: Warn) -> Lines:
    """Where readouts would lie, whether or not that is on the grid; else as `place_lines`."""
    heads = raw.heads[image]
    before, after = (heads[name].astype(np.intp) for name in ("discard_pre", "discard_post"))
    n_samples = heads["number_of_samples"].astype(np.intp) - before - after
    centre = _echo_centre(raw, image, n_samples, grid, warn)
    return Lines(
        row=image,
        ky=grid.first_row + heads["idx"]["kspace_encode_step_1"].astype(np.intp),
        start=grid.kx // 2 - centre,
        n_samples=n_samples,
        skip=before,
        reverse=has_flag(heads, 22),
        slices=counters.slices,
        frames=counters.frames,
    )


def _echo_centre(raw: RawScan, image: Index, n_samples: Index, grid: Grid, warn: Warn) -> Index:
    """Index of the echo centre among the samples that are kept.

    The standard counts center_sample from the first stored sample; some programs count it after the discarded ones.
    Where samples are discarded, the reading is taken that fits the grid, and if both do, the one nearer to the echo.
    """
    heads = raw.heads[image]
    centre, before = (heads[name].astype(np.intp) for name in ("center_sample", "discard_pre"))
    if not before.any():
        return centre
    readings = [centre - before, centre]
    fits = [_fits(reading, n_samples, grid.kx) for reading in readings]
    if fits != [True, True]:
        return readings[1] if fits == [False, True] else readings[0]
    i = int(np.argmin(np.abs(heads["idx"]["kspace_encode_step_1"] + grid.first_row - grid.ky // 2)))
    kept = raw.samples(image[i : i + 1])[0, :, before[i] : before[i] + n_samples[i]]
    peak = int(np.argmax((np.abs(kept[:, :: -1 if has_flag(heads[i : i + 1], 22)[0] else 1]) ** 2).sum(0)))
    standard = abs(peak - readings[0][i]) <= abs(peak - readings[1][i])
    warn(f"center_sample is counted {'before' if standard else 'after'} the discarded samples: the echo lies there")
    return readings[0 if standard else 1]


def fits_grid(lines: Lines, grid: Grid) -> NDArray[np.bool_]:
    """Which readouts lie on the grid, with their echo among their samples, ``(readouts,)``."""
    fits_x = (lines.start >= 0) & (lines.start + lines.n_samples <= grid.kx)
    has_echo = (lines.start <= grid.kx // 2) & (lines.start + lines.n_samples > grid.kx // 2)
    return fits_x & has_echo & (lines.ky >= 0) & (lines.ky < grid.ky)


def _fits(centre: Index, n_samples: Index, kx: int) -> bool:
    start = kx // 2 - centre
    return bool(((centre >= 0) & (centre < n_samples) & (start >= 0) & (start + n_samples <= kx)).all())


def require_placement(raw: RawScan, image: Index, start: Index, n_samples: Index, kx: int) -> None:
    """Check that every readout lies on the encoded grid, and covers what a readout covers.

    Raises
    ------
    DataError
        Naming the first readout that does not.
    """
    too_long = np.flatnonzero(n_samples > kx)
    if too_long.size:
        i = too_long[0]
        raise DataError(f"{n_samples[i]} samples, encodedSpace x is {kx}", where=raw.at(image[i]))
    outside = np.flatnonzero((start < 0) | (start + n_samples > kx))
    if outside.size:
        i = outside[0]
        what = (
            f"center_sample {raw.heads['center_sample'][image[i]]} puts {n_samples[i]} samples on columns {start[i]} "
            f"to {start[i] + n_samples[i] - 1}, expected 0 to {kx - 1} (encodedSpace x is {kx})"
        )
        raise DataError(what, where=raw.at(image[i]))
    if n_samples.max() < SHORTEST_ECHO * kx:
        what = f"encodedSpace x is {kx}, but the readouts hold at most {n_samples.max()} samples"
        raise DataError(what, where=str(raw.path), hint="the matrix in the header is not that of this scan")
