"""Detection of readouts that are displaced along kx or have the opposite sign, from adjacent lines in all coils.

A point of k-space is a linear combination of the surrounding points in all coils. The matrix of all patches of the
centre therefore has few large singular values (ESPIRiT, 10.1002/mrm.24751). Readouts that are displaced relative to
adjacent ones, because of an uncorrected alternating direction or gradient delay, increase the small singular values.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cinerecon.acquisition.checks.central import PATCH_DISTANCE, CentralReadouts, Samples
from cinerecon.axes import centre_slice
from cinerecon.io.ismrmrd.raw import Index
from cinerecon.words import counted

LINES = np.arange(-PATCH_DISTANCE, PATCH_DISTANCE + 1)
"""Lines that are compared, counted from the centre."""
PATCH = (5, 3)
"""Size of the patches along ky and kx."""
MIN_COILS = 3
"""Smallest number of coils from which adjacent lines can be predicted; with two, intact scans would be reported."""
MAX_COILS = 6
"""Number of principal components of the coils whose patches are compared."""
SIGNAL_FRACTION = 1 / 3
"""Fraction of the singular values that are treated as signal."""
MIN_PATCHES = 2.0
"""Smallest ratio of the number of patches to the number of points in a patch."""
MAX_DISPLACEMENT = 3
"""Largest displacement that is examined [samples]."""
DISPLACED_RATIO = 1.15
"""Ratio of the energy of the small singular values before and after a correction above which readouts are displaced:
1.1 to 10 if lines are displaced by a sample, at most 1 in intact scans."""


class Displacement(NamedTuple):
    """Description of the displaced readouts, and their displacement in samples; 0 if the sign differs."""

    which: str
    n_samples: int


def displacement_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning if every other line or readout is displaced or has the opposite sign."""
    lines, rows = central.around, central.rows
    order = None if rows is None else np.unique(rows, return_inverse=True)[1].ravel()[lines.indices]
    displacement = find_displacement(lines.samples, lines.ky, order)
    if displacement:
        which, n = displacement
        by = f"to be displaced by {counted(n, 'sample')} along kx" if n else "to have the opposite sign"
        yield (
            f"{which} seems {by}: alternating readouts were not corrected, so the image has ghosts along y; do "
            "not trust the image"
        )


def find_displacement(samples: Samples, ky: Index, order: Index | None) -> Displacement | None:
    """Find a displacement or sign change of every other line or readout; None without one, or with few coils or lines.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)`` samples up to `PATCH_DISTANCE` lines from the centre.
    ky
        ``(readouts,)`` lines, counted from the centre.
    order
        ``(readouts,)`` temporal order of the readouts; None if unknown.
    """
    if samples.shape[1] < MIN_COILS:
        return None
    centre = _principal_coils(samples)
    parities = [("every other line", LINES % 2 == 1)]
    if order is not None:
        # keep only readouts with the parity of the first one of their line: averages would mix displaced and others
        measured, first, line = np.unique(ky, return_index=True, return_inverse=True)
        alike = order % 2 == order[first][line.ravel()] % 2
        centre, ky = centre[alike], ky[alike]
        parities.append(("every other readout", np.isin(LINES, measured[order[first] % 2 == 1])))
    lines, is_measured = _average_lines(centre, ky), np.isin(LINES, ky)
    intact = _residual(lines, is_measured)
    if intact is None:
        return None
    best, displacement = intact / DISPLACED_RATIO, None
    for (which, is_odd), shift in product(parities, range(-MAX_DISPLACEMENT, MAX_DISPLACEMENT + 1)):
        other = np.roll(lines, shift, -1) if shift else -lines
        residual = _residual(np.where(is_odd[:, None], other, lines), is_measured)
        if residual is not None and residual < best:
            best, displacement = residual, Displacement(which, abs(shift))
    return displacement


def _principal_coils(samples: Samples) -> Samples:
    """The middle of the readouts, with a margin for displacements, in the first principal components of the coils."""
    width = min(2 * (PATCH_DISTANCE + MAX_DISPLACEMENT) + 1, samples.shape[-1])
    middle = samples[..., centre_slice(samples.shape[-1], width)]
    if middle.shape[1] <= MAX_COILS:
        return middle
    _, vectors = np.linalg.eigh(np.einsum("rcx,rdx->cd", middle, middle.conj()))
    return np.asarray(np.einsum("rcx,cd->rdx", middle, vectors[:, -MAX_COILS:].conj()))


def _average_lines(samples: Samples, ky: Index) -> NDArray[np.complex128]:
    """The average over time of each of `LINES`, ``(coils, ky, kx)``; zero where not measured."""
    average = np.zeros((samples.shape[1], len(LINES), samples.shape[2]), np.complex128)
    for i, line in enumerate(LINES):
        if (is_line := ky == line).any():
            average[:, i] = samples[is_line].mean(0)
    return average


def _residual(lines: NDArray[np.complex128], is_measured: NDArray[np.bool_]) -> float | None:
    """Fraction of the energy of patches in the small singular values; None if there are few patches."""
    inner = lines[..., MAX_DISPLACEMENT:-MAX_DISPLACEMENT]
    n_points = len(inner) * PATCH[0] * PATCH[1]
    if inner.shape[2] < PATCH[1]:
        return None
    is_whole = sliding_window_view(is_measured, PATCH[0]).all(1)
    patches = sliding_window_view(inner, PATCH, axis=(1, 2)).transpose(1, 2, 0, 3, 4)[is_whole].reshape(-1, n_points)
    if len(patches) < MIN_PATCHES * n_points:
        return None
    energies = np.linalg.eigvalsh(patches.conj().T @ patches)
    total = float(energies.sum())
    return float(energies[: -max(int(SIGNAL_FRACTION * n_points), 1)].clip(0).sum()) / total if total > 0 else None
