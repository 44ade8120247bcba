"""Positions of the readouts on the encoded grid, with slice and frame, and their samples."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.counters import Counters
from cinerecon.acquisition.readouts.grid import Grid
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import REVERSE, Index, RawScan

MIN_ECHO_FRACTION = 0.4
"""Smallest fraction of the readout that an asymmetric echo covers; below it, the matrix in the header is wrong."""

CENTRE_HALF_WIDTH = 2
"""Rows on each side of the centre of k-space; a frame needs at least one of them for the contrast of its image."""
FILLED_FRACTION = 0.9
"""Range (this value to its inverse) of the distance of the outermost line from the centre, times the acceleration
factor and relative to half of the rows, in which lines with gaps would reach the edge of the grid."""
REPEAT_CORRELATION = 0.95
"""Correlation of repeated measurements below which they belong to different images. It is above 0.97 with noise and
small motion; adjacent slices and opposite ends of a heartbeat have 0.9."""
LARGEST_GAIN = 1.3
"""Largest amplitude ratio of repeated measurements; noise and motion change amplitudes by a few per cent."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Position of each image readout on the encoded grid; all arrays are ``(readouts,)``.

    Attributes
    ----------
    row
        Number of the readout in the file.
    ky
        Row of the encoded grid.
    start, n_samples
        Column of the encoded grid of the first used sample, and number of used samples.
    skip
        Number of stored samples before the first used sample.
    reverse
        Whether the samples were acquired backwards.
    slices, frames
        Slice and frame, counted from 0.
    weight
        Weight of the readout in its frame; a readout that contributes to several frames occurs several times.
    """

    row: Index
    ky: Index
    start: Index
    n_samples: Index
    skip: Index
    reverse: NDArray[np.bool_]
    slices: Index
    frames: Index
    weight: NDArray[np.float64]

    def of_slice(self, number: int) -> "Lines":
        """The readouts of one slice."""
        return self.where(self.slices == number)

    def where(self, chosen: NDArray[np.bool_] | Index) -> "Lines":
        """The readouts for which ``chosen``, ``(readouts,)``, is True, or the readouts at these indices."""
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})

    def joined(self, *others: "Lines") -> "Lines":
        """These readouts and those of ``others``, in file order."""
        parts = (self, *others)
        order = np.argsort(np.concatenate([part.row for part in parts]), kind="stable")
        return replace(
            self, **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in vars(self)}
        )

    def renumbered(self, rows: Index) -> "Lines":
        """The same readouts with the row numbers ``rows``, ``(readouts,)``."""
        return replace(self, row=rows[self.row])

    def equals(self, other: "Lines") -> bool:
        """Whether the readouts and their positions are the same; slice numbers may differ."""
        names = (name for name in vars(self) if name != "slices")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    def in_one_frame(self) -> "Lines":
        """The same readouts, all assigned to frame 0."""
        return replace(self, frames=np.zeros_like(self.frames))

    def mask(self, n_frames: int, ky: int) -> NDArray[np.bool_]:
        """The sampling mask of the readouts of one slice, ``(frames, 1, ky, 1)`` bool."""
        mask = np.zeros((n_frames, 1, ky, 1), dtype=bool)
        mask[self.frames, 0, self.ky, 0] = True
        return mask


def place_lines(image: Readouts, counters: Counters, grid: Grid) -> Lines:
    """Locate every image readout on the grid by its line number and echo centre.

    Raises
    ------
    DataError
        If a readout does not fit the encoded grid.
    """
    lines = locate_lines(image, counters.slices, counters.frames, grid)
    _require_placement(image, lines, grid.kx)
    return lines


def locate_lines(readouts: Readouts, slices: Index, frames: Index, grid: Grid) -> Lines:
    """The positions of readouts, which may be outside the grid; otherwise the same as `place_lines`."""
    before, after = (readouts.field(name).astype(np.intp) for name in ("discard_pre", "discard_post"))
    n_samples = readouts.field("number_of_samples").astype(np.intp) - before - after
    reverse = readouts.has_flag(REVERSE)
    centre = _echo_centre(readouts, np.where(reverse, after, before), n_samples, grid)
    return Lines(
        row=readouts.rows,
        ky=grid.first_row + readouts.lines,
        start=grid.kx // 2 - centre,
        n_samples=n_samples,
        skip=before,
        reverse=reverse,
        slices=slices,
        frames=frames,
        weight=np.ones(len(readouts)),
    )


def _echo_centre(readouts: Readouts, discarded: Index, n_samples: Index, grid: Grid) -> Index:
    """Index of the echo centre among the used samples, in forward order.

    The standard counts center_sample from the first stored sample, while some programs count it from the first sample
    that is not discarded. If samples are discarded, the interpretation that fits the grid is used or, if both fit, the
    one closer to the echo. ``discarded`` is the number of samples at the start of k-space, which reversed readouts
    store at their end.
    """
    centre, before = (readouts.field(name).astype(np.intp) for name in ("center_sample", "discard_pre"))
    if not discarded.any():
        return centre
    candidates = [centre - discarded, centre]
    fits = [_fits(candidate, n_samples, grid.kx) for candidate in candidates]
    if fits != [True, True]:
        return candidates[1] if fits == [False, True] else candidates[0]
    from_centre = np.abs(readouts.lines + grid.first_row - grid.ky // 2)
    i = int(np.argmin(np.where(readouts.raw.is_readable(readouts.rows), from_centre, np.inf)))
    samples = readouts.raw.samples(readouts.rows[i : i + 1])[0, :, before[i] : before[i] + n_samples[i]]
    peak = int(np.argmax((np.abs(samples[:, :: -1 if readouts.has_flag(REVERSE)[i] else 1]) ** 2).sum(0)))
    standard = abs(peak - candidates[0][i]) <= abs(peak - candidates[1][i])
    if not standard:
        readouts.warn("center_sample is counted after the discarded samples, as the echo shows")
    return candidates[0 if standard else 1]


def fits_grid(lines: Lines, grid: Grid) -> NDArray[np.bool_]:
    """The readouts that are inside the grid and contain their echo, ``(readouts,)`` bool."""
    fits_x = (lines.start >= 0) & (lines.start + lines.n_samples <= grid.kx)
    has_echo = (lines.start <= grid.kx // 2) & (lines.start + lines.n_samples > grid.kx // 2)
    return fits_x & has_echo & (lines.ky >= 0) & (lines.ky < grid.ky)


def _fits(centre: Index, n_samples: Index, kx: int) -> bool:
    start = kx // 2 - centre
    return bool(((centre >= 0) & (centre < n_samples) & (start >= 0) & (start + n_samples <= kx)).all())


def _require_placement(image: Readouts, lines: Lines, kx: int) -> None:
    """Check that each readout is inside the encoded grid, and that readouts are long enough for it."""
    start, n_samples = lines.start, lines.n_samples
    too_long = np.flatnonzero(n_samples > kx)
    if too_long.size:
        i = too_long[0]
        is_exchanged = n_samples[i] == image.encoding.encoded.matrix[1]
        hint = (
            "x is the readout: exchange x and y of matrixSize and fieldOfView_mm in the header" if is_exchanged else ""
        )
        raise DataError(f"{n_samples[i]} samples, encodedSpace x is {kx}", where=image.at(i), hint=hint)
    outside = np.flatnonzero((start < 0) | (start + n_samples > kx))
    if outside.size:
        i = outside[0]
        what = (
            f"center_sample {image.field('center_sample')[i]} puts {n_samples[i]} samples on columns {start[i]} "
            f"to {start[i] + n_samples[i] - 1}, expected 0 to {kx - 1} (encodedSpace x is {kx})"
        )
        raise DataError(what, where=image.at(i))
    without_echo = np.flatnonzero((start > kx // 2) | (start + n_samples <= kx // 2))
    if without_echo.size:
        i = without_echo[0]
        head = image.raw.heads[image.rows[i]]
        what = (
            f"center_sample is {head['center_sample']}, outside the used samples {head['discard_pre']} to "
            f"{head['number_of_samples'] - head['discard_post'] - 1}: they have no echo"
        )
        hint = "correct discard_pre, discard_post or center_sample; --set preprocessing.center_sample=... sets the last"
        raise DataError(what, where=image.at(i), hint=hint)
    if n_samples.max() < MIN_ECHO_FRACTION * kx:
        what = f"encodedSpace x is {kx}, but the readouts hold at most {n_samples.max()} samples"
        raise DataError(what, where=image.path, hint="the matrix in the header is not that of this scan")


def require_central_lines(raw: RawScan, lines: Lines, grid: Grid) -> None:
    """Check that lines at the centre of k-space were measured in some frame of each slice.

    Raises
    ------
    DataError
        If a slice has no central lines, so that its image would show only edges.
    """
    central = np.unique(lines.slices[np.abs(lines.ky - grid.ky // 2) <= CENTRE_HALF_WIDTH])
    without = np.setdiff1d(lines.slices, central)
    if without.size == 0:
        return
    measured = np.unique(lines.of_slice(without[0]).ky) - grid.first_row
    centre = grid.ky // 2 - grid.first_row
    nearest = measured[np.argsort(np.abs(measured - centre), kind="stable")[:2]]
    what = (
        f"slice {without[0]} has no line at the centre of k-space, line {centre}; the nearest are "
        f"{' and '.join(str(line) for line in np.sort(nearest))}"
    )
    hint = "central lines that are flagged as calibration or noise but not as imaging are not used as image lines"
    raise DataError(what, where=str(raw.path), hint=hint)


def require_gaps(raw: RawScan, lines: Lines, grid: Grid) -> None:
    """Check that the lines of a regularly undersampled scan are not numbered consecutively.

    Such lines would be placed next to each other, and the image would be stretched along y and aliased.

    Raises
    ------
    DataError
        If no frame has gaps, although the lines would fill the grid with the acceleration factor of the header.
    """
    factor = round(raw.header.encoding.acceleration)
    different = np.unique(np.stack([lines.slices, lines.frames, lines.ky], 1), axis=0)
    _, first, n_lines = np.unique(different[:, :2], axis=0, return_index=True, return_counts=True)
    span = different[first + n_lines - 1, 2] - different[first, 2] + 1
    from_centre = different[:, 2] - grid.ky // 2
    reach = factor * max(-int(from_centre.min()), int(from_centre.max()) + 1) / max(grid.ky // 2, 1)
    is_at_edge = FILLED_FRACTION <= reach <= 1 / FILLED_FRACTION
    if factor < 2 or bool((span > n_lines).any()) or not is_at_edge:
        return
    numbers = different[:, 2] - grid.first_row
    what = (
        f"the header has {factor}-fold acceleration along ky and {grid.ky} rows, but lines {numbers.min()} to "
        f"{numbers.max()} are all measured: are they numbered without the skipped lines?"
    )
    hint = (
        f"number them 0, {factor}, {2 * factor}, ..., with the limits and the centre; or, if the phase resolution "
        "is low and no lines were skipped, set accelerationFactor to 1"
    )
    raise DataError(what, where=str(raw.path), hint=hint)


class Agreement(NamedTuple):
    """Agreement of two measurements of the same lines.

    Attributes
    ----------
    correlation
        Energy-weighted correlation; 1 if the measurements differ only by a factor.
    gain
        Ratio of the amplitudes of the second measurement to the first.
    """

    correlation: float
    gain: float

    @property
    def is_one_image(self) -> bool:
        """Whether the measurements show the same image, except for a factor."""
        return self.correlation >= REPEAT_CORRELATION

    @property
    def is_one_gain(self) -> bool:
        """Whether the measurements have the same amplitude."""
        return 1 / LARGEST_GAIN < self.gain < LARGEST_GAIN


def compare_readouts(raw: RawScan, lines: Lines, pairs: Index) -> Agreement:
    """Compare pairs of readouts in the columns that both of them cover, including the centre.

    Parameters
    ----------
    raw
        The scan.
    lines
        The readouts of the scan, located on the grid.
    pairs
        ``(pairs, 2)`` indices into ``lines``.
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
    return Agreement(product / energy if energy else 1.0, float(np.median(gains)))


def line_samples(raw: RawScan, lines: Lines) -> list[NDArray[np.complex128]]:
    """The used samples of located readouts in forward order, ``(coils, samples)`` each."""
    samples = [np.empty((0, 0), np.complex128)] * len(lines.row)
    n_stored = raw.heads["number_of_samples"][lines.row]
    for length in np.unique(n_stored):
        alike = np.flatnonzero(n_stored == length)
        rows, position = np.unique(lines.row[alike], return_inverse=True)
        for i, readout in zip(alike, raw.unspoiled_samples(rows)[position], strict=True):
            used = readout[:, lines.skip[i] : lines.skip[i] + lines.n_samples[i]].astype(np.complex128)
            samples[i] = used[:, ::-1] if lines.reverse[i] else used
    return samples
