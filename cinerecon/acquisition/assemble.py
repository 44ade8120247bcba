"""Assembly of the readouts of one slice into k-space on the grid of the image.

Each readout is reversed if it was acquired backwards, prewhitened, placed on the encoded grid, cropped to the field of
view of the image, and added to its phase-encoding line with its weight. Lines that were measured several times are
averaged sample by sample.

Two conventions are unified here. The image is the forward transform of k-space for Siemens data and the inverse
transform for other vendors. Mirroring k-space about its centre converts the first convention into the second and
preserves image, phase and geometry. An oversampled readout is transformed to the image domain, cropped and transformed
back. The transform is orthonormal, so the noise stays white and keeps its variance.

Cropping the image resamples k-space: each new point is interpolated from adjacent points of the encoded grid. Next to a
part of k-space that was not measured (asymmetric echo, partial Fourier), some of these points are missing, and the
interpolated value would be wrong, by up to a quarter at the last point. A point is therefore treated as sampled only if
one new grid step on each side of it was measured. All other points are set to zero and are False in the mask.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.coil_maps import GriddedSlice, describe_compression
from cinerecon.acquisition.config import describe_kept_coils
from cinerecon.acquisition.readouts.grid import Grid
from cinerecon.acquisition.readouts.placement import Lines
from cinerecon.axes import mirrored_indices
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan
from cinerecon.physics.coils import CoilStatistics, apply_coil_matrix
from cinerecon.physics.fourier import crop_kspace, crop_sampled

BLOCK = 64
"""Number of readouts that are transformed at a time, small enough for their samples to fit into the cache."""


@dataclass(frozen=True, eq=False)
class Assembly:
    """Processing parameters that all slices of a scan share.

    Attributes
    ----------
    raw
        The scan.
    grid
        The encoded grid and the grid of the image.
    mirrored
        Whether the image is the forward transform of the file's k-space.
    spoiled
        Number of corrupted samples at the start and at the end of each stored readout.
    coils
        Indices of the coils that are not excluded.
    coil_matrix
        ``(used coils, coils)`` complex64, combined selection, prewhitening and compression of the coils; None for the
        identity.
    warnings
        Warnings about the noise.
    has_unit_noise
        Whether the noise of a sample has unit variance after the coil matrix.
    compression
        Description of the virtual coils; empty if coils are not compressed.
    """

    raw: RawScan
    grid: Grid
    mirrored: bool
    spoiled: tuple[int, int]
    coils: Index
    coil_matrix: Tensor | None
    warnings: tuple[str, ...] = ()
    has_unit_noise: bool = False
    compression: str = ""


class CoilDropouts:
    """Count of the readouts in which a coil contains only zeros while other coils have signal."""

    def __init__(self, n_coils: int) -> None:
        self.n_empty, self.n_readouts = torch.zeros(n_coils, dtype=torch.int64), 0

    def add(self, stored: Tensor) -> None:
        """Add the readouts of ``stored``, ``(readouts, coils, samples)``, to the counts."""
        middle = stored[..., stored.shape[-1] // 2]
        if bool((middle == 0).any()):  # fast test: measured samples are almost never exactly zero
            is_empty = ~stored.any(-1)
            is_empty = is_empty[~is_empty.all(1)]
            self.n_empty += is_empty.sum(0)
            self.n_readouts += len(is_empty)
        else:
            self.n_readouts += len(stored)

    def require_none(self, coils: Index, where: str) -> None:
        """Check that each coil has signal in all readouts or in none.

        Raises
        ------
        DataError
            If a coil has no signal in some of the readouts; the error names the first such coil.
        """
        n_empty = self.n_empty[torch.from_numpy(coils)]
        lost = ((n_empty > 0) & (n_empty < self.n_readouts)).nonzero().ravel().tolist()
        if lost:
            coil = int(coils[lost[0]])
            what = f"coil {coil} contains only zeros in {int(n_empty[lost[0]])} of {self.n_readouts} readouts"
            hint = f"--set preprocessing.exclude_coils=[{','.join(str(coils[i]) for i in lost)}] excludes it"
            raise DataError(f"{what} in which other coils have signal", where=where, hint=hint)


def assemble(assembly: Assembly, lines: Lines, n_frames: int) -> GriddedSlice:
    """Assemble the readouts of one slice on the grid of the image.

    Raises
    ------
    DataError
        If a coil has no samples in some of the readouts.
    """
    grid = assembly.grid
    coil_matrix = assembly.coil_matrix
    n_stored = int(assembly.raw.heads["active_channels"][lines.row[0]])
    coils = n_stored if coil_matrix is None else len(coil_matrix)
    dropouts = CoilDropouts(n_stored)
    kspace = torch.zeros(n_frames, coils, grid.ky, grid.x, dtype=torch.complex64)
    total, squares = torch.zeros(2, n_frames, grid.ky, grid.x)
    rows = _grid_rows(assembly, lines)
    for block, columns in _blocks(assembly, lines):
        weight = torch.from_numpy(lines.weight[block].astype(np.float32))
        samples = _weighted(assembly, lines, block, weight, dropouts)
        samples = samples if bool(columns.all()) else samples * columns
        for unique in _without_repeats(lines.frames[block], rows[block]):
            frame, row = lines.frames[block][unique], rows[block][unique]
            added = samples if len(unique) == len(block) else samples[unique]
            repeated = bool(total[frame, row].any())
            kspace[frame, :, row] = kspace[frame, :, row] + added if repeated else added
            total[frame, row] += weight[unique, None] * columns
            squares[frame, row] += weight[unique, None] ** 2 * columns
    dropouts.require_none(assembly.coils, f"{assembly.raw.path}, slice {lines.slices[0]}")
    mask = (total > 0).unsqueeze(1)
    n_averages = None
    if bool((total > 1).any()) or not bool((lines.weight == 1).all()):
        kspace /= torch.where(total > 0, total, 1.0).unsqueeze(1)
        n_averages = (total.square() / torch.where(total > 0, squares, 1.0)).unsqueeze(1)
    whole = mask.any(-1, keepdim=True)
    if bool((mask == whole).all()):
        return GriddedSlice(kspace, whole, None if n_averages is None else n_averages[..., :1])
    return GriddedSlice(kspace, mask, n_averages)


def with_virtual_coils(assembly: Assembly, lines: Lines, n_virtual: int | Literal["auto"]) -> Assembly:
    """The assembly with a coil matrix that also compresses the coils of a slice to their principal components.

    The readouts are read both here and in `assemble`, so that k-space of all coils is never in memory.
    """
    _, first = np.unique(lines.row, return_index=True)
    lines = lines.where(np.isin(np.arange(len(lines.row)), first))
    rows = torch.from_numpy(_grid_rows(assembly, lines))
    statistics: CoilStatistics | None = None
    for block, columns in _blocks(assembly, lines):
        samples = _prepare(assembly, lines, block) * columns
        statistics = statistics or CoilStatistics(samples.shape[1], assembly.grid.ky)
        statistics.add(samples, rows[block], columns.sum().expand(len(block)))
    assert statistics is not None
    number = statistics.n_virtual(n_virtual)
    if number >= statistics.n_coils:
        return replace(assembly, compression=describe_kept_coils(statistics.n_coils, n_virtual))
    matrix = statistics.matrix(number)
    return replace(
        assembly,
        coil_matrix=matrix if assembly.coil_matrix is None else matrix @ assembly.coil_matrix,
        compression=describe_compression(statistics, number, "pca"),
    )


def _grid_rows(assembly: Assembly, lines: Lines) -> Index:
    """The row of each line on the grid of the image."""
    return np.asarray(mirrored_indices(assembly.grid.ky)[lines.ky] if assembly.mirrored else lines.ky)


def averaged_noise_std(part: GriddedSlice) -> Tensor:
    """Standard deviation of the noise of whitened samples, ``(frames, 1, ky or 1, kx or 1)`` float.

    If the phase oversampling of the mask was removed, the mean over the measured lines is used.
    """
    mask, n_averages = part.mask, part.n_averages
    if n_averages is None:
        return torch.ones(len(mask), 1, 1, 1)
    variance = torch.where(n_averages > 0, 1 / n_averages.clamp_min(1), 0)
    if n_averages.shape[-2] != mask.shape[-2]:
        variance = variance.sum((-2, -1), keepdim=True) / (n_averages > 0).sum((-2, -1), keepdim=True).clamp_min(1)
    return variance.sqrt()


def _weighted(assembly: Assembly, lines: Lines, block: Index, weight: Tensor, dropouts: CoilDropouts) -> Tensor:
    """Weighted readouts, ``(readouts, coils, x)``; a readout that several frames share is read once."""
    if bool((weight == 1).all()):
        return _prepare(assembly, lines, block, dropouts)
    _, first, inverse = np.unique(lines.row[block], return_index=True, return_inverse=True)
    return _prepare(assembly, lines, block[first], dropouts)[inverse.ravel()] * weight[:, None, None]


def _blocks(assembly: Assembly, lines: Lines) -> Iterator[tuple[Index, Tensor]]:
    """Blocks of up to `BLOCK` readouts with the same samples on the same columns, and the measured columns ``(x,)``."""
    stored = assembly.raw.heads["number_of_samples"][lines.row]
    layout = np.stack([stored, lines.start, lines.n_samples, lines.skip, lines.reverse], 1)
    _, group = np.unique(layout, axis=0, return_inverse=True)
    for number in range(int(group.max()) + 1):
        alike = np.flatnonzero(group.ravel() == number)
        columns = torch.from_numpy(_sampled_columns(assembly, lines, alike[0]))
        for start in range(0, len(alike), BLOCK):
            yield alike[start : start + BLOCK], columns


def _without_repeats(frames: Index, rows: Index) -> Iterator[Index]:
    """Split readouts into groups that contain each line of a frame at most once."""
    rest = np.arange(len(rows))
    while rest.size:
        _, first = np.unique(frames[rest] * (int(rows.max()) + 1) + rows[rest], return_index=True)
        first.sort()
        yield rest[first]
        rest = np.delete(rest, first)


def _sampled_columns(assembly: Assembly, lines: Lines, i: int) -> NDArray[np.bool_]:
    """Columns of the image grid that a readout measures, ``(x,)``."""
    before, after = _spoiled(assembly, lines, i)
    sampled = np.zeros(assembly.grid.kx, bool)
    sampled[lines.start[i] + before : lines.start[i] + lines.n_samples[i] - after] = True
    return crop_sampled(sampled[mirrored_indices(len(sampled))] if assembly.mirrored else sampled, assembly.grid.x)


def _spoiled(assembly: Assembly, lines: Lines, i: int) -> tuple[int, int]:
    before, after = assembly.spoiled
    return (after, before) if lines.reverse[i] else (before, after)


def _prepare(assembly: Assembly, lines: Lines, block: Index, dropouts: CoilDropouts | None = None) -> Tensor:
    """Readouts of one layout on the image grid, ``(readouts, coils, x)``; coils without samples are counted."""
    i, grid = block[0], assembly.grid
    start, n_samples, skip = int(lines.start[i]), int(lines.n_samples[i]), int(lines.skip[i])
    stored = torch.from_numpy(assembly.raw.samples(lines.row[block]))
    measured = stored[..., skip : skip + n_samples]
    if dropouts is not None:
        dropouts.add(measured)
    measured = measured.flip(-1) if lines.reverse[i] else measured
    before, after = _spoiled(assembly, lines, i)
    encoded = measured.new_zeros(*measured.shape[:-1], grid.kx)
    encoded[..., start + before : start + n_samples - after] = measured[..., before : n_samples - after]
    samples = crop_kspace(encoded, grid.x, -1, mirrored=assembly.mirrored)
    return samples if assembly.coil_matrix is None else apply_coil_matrix(assembly.coil_matrix, samples, 1)
