"""Agreement of the central readouts: of the same line in all frames, and of adjacent lines across coils.

The phase of a line near the centre of k-space hardly changes over the frames of a cine. If it does, an RF phase or a
frequency drift was not corrected; single frames may be correct, but frames cannot be combined.

A point of k-space is a linear combination of the points around it in all coils, so that the matrix of all patches of
the centre has few large singular values (ESPIRiT, 10.1002/mrm.24751). Readouts that are displaced relative to
adjacent ones, by an uncorrected alternating direction or gradient delay, raise the small singular values.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cinerecon.acquisition.checks.coil_changes import (
    GAP_OVER_SPREAD,
    Samples,
    changing_coils,
    frames_with_exchanged_coils,
    noisy_coils,
    two_groups,
)
from cinerecon.axes import centre_slice
from cinerecon.io.ismrmrd.raw import Index
from cinerecon.words import counted, name_frames

PHASE_DISTANCE = 4
"""Largest distance from the centre of k-space of the lines whose phase is compared."""
MIN_COHERENCE = 0.75
"""Coherence of the phase over the frames (1 if constant) below which it is reported; cines with phase changes as fast
as measured ones have at least 0.83."""
MIN_READOUTS = 3
"""Smallest number of readouts of a line whose phases are compared."""
MIN_COMPARED = 4
"""Smallest number of pairs of readouts whose phases are compared."""
MIN_OTHERS = 2
"""Smallest number of other frames with a line for the comparison of line numbers."""
MIN_DIFFERENCE = 0.05
"""Difference of the correlations with the adjacent and with the same line above which the number of a line is wrong; at
least 0.2 if it is, at most -0.1 in intact scans."""
MIRROR_SUMS = (-1, 0, 1)
"""Sums of the numbers, counted from the centre, of two lines that are exchanged: 0 mirrors about the centre, the others
about the middle of a grid with an even number of lines."""
MIRRORED_DIFFERENCE = 0.15
"""Difference of the correlations with the mirrored and with the same line of other frames above which a frame is
mirrored: about 0.5 if it is, 0 in noise, at most -0.1 in intact scans."""
N_COLUMNS = 64
"""Number of central columns from which the position of the image is determined."""
LARGEST_SHIFT, SHIFT_STEP = 16.0, 0.25
"""Largest shift of the image along x that is tried, and the step [pixels]."""
SHIFT_GAP = 2.5
"""Gap between two groups of positions [pixels] from which frames are shifted: 0.5 in most intact scans, up
to 1.8 in phantoms of few frames with much motion."""
MIN_FRAMES = 4
"""Smallest number of frames whose positions are compared."""

PATCH_DISTANCE = 12
"""Largest distance from the centre of k-space, along ky and kx, of the patches."""
PATCH = (5, 3)
"""Size of the patches along ky and kx."""
MIN_COILS = 3
"""Smallest number of coils that predict adjacent lines from each other; with two, intact scans would be reported."""
MAX_COILS = 6
"""Number of principal components of the coils whose patches are compared."""
SIGNAL_FRACTION = 1 / 3
"""Fraction of the singular values that count as signal."""
MIN_PATCHES = 2.0
"""Smallest ratio of the number of patches to the number of points in a patch."""
MAX_DISPLACEMENT = 3
"""Largest displacement that is tried, in samples."""
DISPLACED_RATIO = 1.15
"""Ratio of the energy of the small singular values as stored to that after a correction, above which readouts are
displaced: 1.1 to 10 if lines are displaced by a sample, at most 1 in intact scans."""


def coherence_warnings(samples: Samples, frames: Index, ky: Index, coils: Index) -> Iterator[str]:
    """Warnings about lines whose phase or gain differs between frames, and about loud coils without signal.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)`` readouts near the centre of k-space.
    frames, ky
        ``(readouts,)``; ky is counted from the centre.
    coils
        ``(coils,)`` their numbers.
    """
    near = np.abs(ky) <= PHASE_DISTANCE
    samples, frames, ky = samples[near], frames[near], ky[near]
    yield from noisy_coils(samples, frames, ky, coils)
    exchanged = frames_with_exchanged_coils(samples, frames, ky)
    if exchanged:
        yield (
            f"{name_frames(exchanged)}: the coils are in another order than in the other frames, or are other coils: "
            "do not trust the image"
        )
        return  # gain and phase of a coil change for the same reason
    yield from changing_coils(samples, frames, ky, coils)
    mirrored = mirrored_frames(samples, frames, ky)
    if mirrored:
        yield (
            f"{name_frames(mirrored)}: lines are numbered in the opposite direction to those of the other frames, so "
            "that ky is mirrored: the image is not to be trusted"
        )
        return  # displaced lines and changes of phase have the same cause
    displaced = displaced_frames(samples, frames, ky)
    if displaced:
        yield (
            f"{name_frames(displaced)}: the central lines resemble adjacent ones of other frames: their line numbers "
            "are wrong, and the image is not to be trusted"
        )
    shifted, n_pixels = shifted_frames(samples, frames, ky)
    if shifted:
        yield (
            f"{name_frames(shifted)}: the image is shifted by {n_pixels:.1f} pixels along x relative to the other "
            "frames: the receiver frequency or the position changed; do not trust images that combine frames"
        )
    pairs = _pairs_with_strongest(samples, ky)
    if len(pairs) < MIN_COMPARED:
        return
    products = np.einsum("rcx,rcx->r", samples[pairs[:, 0]], samples[pairs[:, 1]].conj())
    sums = sum(abs(products[ky[pairs[:, 0]] == line].sum()) for line in np.unique(ky))
    coherence = float(sums / np.abs(products).sum()) if products.any() else 1.0
    if coherence < MIN_COHERENCE:
        yield (
            f"the phase of the central lines changes from frame to frame (coherence {coherence:.2f}, of cines 0.83 to "
            "1): an RF phase or a frequency drift was not corrected; do not trust images that combine frames"
        )


def displaced_frames(samples: Samples, frames: Index, ky: Index) -> list[int]:
    """The frames whose lines agree better with the adjacent line of the other frames than with the same one."""
    sums = {int(line): samples[ky == line].sum(0) for line in np.unique(ky)}
    counts = {line: int((ky == line).sum()) for line in sums}
    displaced = []
    for frame in np.unique(frames):
        own = {int(ky[i]): samples[i] for i in np.flatnonzero(frames == frame)}
        others = {
            line: total - own.get(line, 0.0)
            for line, total in sums.items()
            if counts[line] - (line in own) >= MIN_OTHERS
        }
        lines = [line for line in own if {line - 1, line, line + 1} <= {*others}]
        agreement = [_agreement([(own[line], others[line + step]) for line in lines]) for step in (-1, 0, 1)]
        if len(lines) >= 2 and max(agreement[0], agreement[2]) > agreement[1] + MIN_DIFFERENCE:
            displaced.append(int(frame))
    return displaced


def shifted_frames(samples: Samples, frames: Index, ky: Index) -> tuple[list[int], float]:
    """The frames whose images are shifted along x relative to most of the others, and by how many pixels.

    The shift relative to the frame with the most lines is the position of the maximum of the phase correlation. Motion
    is gradual and local, and leaves the maximum where static tissue is; shifted frames form a group of their own.
    """
    columns = centre_slice(samples.shape[-1], N_COLUMNS)
    position = (np.arange(samples.shape[-1]) - samples.shape[-1] // 2)[columns]
    shifts = np.arange(-LARGEST_SHIFT, LARGEST_SHIFT + SHIFT_STEP / 2, SHIFT_STEP)
    transform = np.exp(2j * np.pi / samples.shape[-1] * np.outer(position, shifts))
    numbers, n_lines = np.unique(frames, return_counts=True)
    reference = {int(ky[i]): samples[i][:, columns] for i in np.flatnonzero(frames == numbers[n_lines.argmax()])}
    known, found = [], []
    for frame in numbers:
        own = {int(ky[i]): samples[i][:, columns] for i in np.flatnonzero(frames == frame) if int(ky[i]) in reference}
        if own:
            products = np.array([(own[line] * reference[line].conj()).sum(0) for line in own])
            phasors = products / np.maximum(np.abs(products), np.finfo(float).tiny)
            known.append(int(frame))
            found.append(shifts[np.abs(phasors @ transform).sum(0).argmax()])
    if len(known) < MIN_FRAMES:
        return [], 0.0
    differing, gap, spread = two_groups(np.array(found))
    if gap < max(SHIFT_GAP, GAP_OVER_SPREAD * spread):
        return [], 0.0
    n_pixels = abs(np.median(np.array(found)[differing]) - np.median(np.array(found)[~differing]))
    return [known[i] for i in np.flatnonzero(differing)], float(n_pixels)


def mirrored_frames(samples: Samples, frames: Index, ky: Index) -> list[int]:
    """The frames whose lines are numbered in the opposite direction to those of the majority.

    Each pair of frames is compared as it is and with one of the two mirrored. If some frames are mirrored, this
    improves the agreement between two groups of frames, and reduces it within them.
    """
    numbers, position = np.unique(frames, return_inverse=True)
    readouts = np.full((len(numbers), 2 * PHASE_DISTANCE + 1), -1)
    readouts[position.ravel(), ky + PHASE_DISTANCE] = np.arange(len(ky))
    vectors = samples.reshape(len(samples), -1)
    products = np.abs(vectors @ vectors.conj().T)
    for line_sum in MIRROR_SUMS:
        gain = _gain_of_mirroring(products, readouts, line_sum)
        if not np.isfinite(gain).any():
            continue
        is_mirrored = np.linalg.eigh(np.nan_to_num(gain))[1][:, 0] > 0  # the signs maximise the gain between groups
        if 2 * is_mirrored.sum() > len(numbers) or (2 * is_mirrored.sum() == len(numbers) and is_mirrored[0]):
            is_mirrored = ~is_mirrored
        between = np.ma.masked_invalid(gain[:, ~is_mirrored]).mean(1).filled(-1.0)
        mirrored = numbers[is_mirrored & (between > MIRRORED_DIFFERENCE)]
        if mirrored.size:
            return [int(frame) for frame in mirrored]
    return []


def _gain_of_mirroring(products: NDArray[np.floating], readouts: Index, line_sum: int) -> NDArray[np.float64]:
    """Correlation of each frame with the mirrored lines of each other frame minus that with the same lines.

    Parameters
    ----------
    products
        ``(readouts, readouts)`` magnitudes of inner products.
    readouts
        ``(frames, lines)`` the readout of each line of a frame; -1 if it was not measured.
    line_sum
        The sum of the numbers of two lines that are exchanged; a line that stays in place is not compared.

    Returns
    -------
    ``(frames, frames)``; NaN for frames without common lines.
    """
    norms = np.sqrt(products.diagonal())
    sums = np.zeros((2, 2, len(readouts), len(readouts)))
    for line in range(-PHASE_DISTANCE, PHASE_DISTANCE + 1):
        other = line_sum - line
        if other == line or abs(other) > PHASE_DISTANCE:
            continue
        own, mirrored = readouts[:, line + PHASE_DISTANCE], readouts[:, other + PHASE_DISTANCE]
        is_common = (own >= 0)[:, None] & ((own >= 0) & (mirrored >= 0))
        for i, target in enumerate((own, mirrored)):
            sums[i, 0] += np.where(is_common, products[own[:, None], target], 0.0)
            sums[i, 1] += np.where(is_common, norms[own][:, None] * norms[target], 0.0)
    same, exchanged = sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    gain = exchanged - same
    np.fill_diagonal(gain, np.nan)
    return np.asarray(np.where(np.isnan(gain), gain.T, np.where(np.isnan(gain.T), gain, (gain + gain.T) / 2)))


def _agreement(pairs: list[tuple[Samples, Samples]]) -> float:
    """Magnitude of the correlation of pairs of lines ``(coils, kx)``, weighted by their energy; 0 without pairs."""
    norms = sum(float(np.linalg.norm(line) * np.linalg.norm(other)) for line, other in pairs)
    return sum(abs(complex(np.vdot(line, other))) for line, other in pairs) / norms if norms else 0.0


def _pairs_with_strongest(samples: Samples, ky: Index) -> Index:
    """Pairs of each readout and the strongest one of its line, ``(pairs, 2)``."""
    norms = np.linalg.norm(samples, axis=(1, 2))
    pairs = []
    for line in np.unique(ky):
        readouts = np.flatnonzero(ky == line)
        if len(readouts) < MIN_READOUTS:
            continue
        strongest = int(readouts[norms[readouts].argmax()])
        pairs += [(int(i), strongest) for i in readouts if i != strongest]
    return np.array(pairs, np.intp).reshape(-1, 2)


class Displacement(NamedTuple):
    """Readouts that are displaced relative to the others: which, and by how many samples; 0 if the sign differs."""

    which: str
    n_samples: int


def displacement_warnings(samples: Samples, ky: Index, order: Index | None) -> Iterator[str]:
    """A warning if every other readout is displaced or has the opposite sign. Parameters as `find_displacement`."""
    displacement = find_displacement(samples, ky, order)
    if displacement:
        which, n = displacement
        by = f"displaced by {counted(n, 'sample')} along kx" if n else "of the opposite sign"
        yield (
            f"{which} seems {by}: alternating readouts were not corrected; the image has ghosts along y and is not to "
            "be trusted"
        )


def find_displacement(samples: Samples, ky: Index, order: Index | None) -> Displacement | None:
    """Find a displacement or sign of every other line or readout; None without one, or with few coils or lines.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)``, up to `PATCH_DISTANCE` lines from the centre.
    ky
        ``(readouts,)`` lines, counted from the centre.
    order
        ``(readouts,)`` number of each readout in temporal order; None if unknown.
    """
    if samples.shape[1] < MIN_COILS:
        return None
    centre = _principal_coils(samples)
    if order is not None:
        # of each line, only readouts with the parity of the first one: displaced and other readouts would be averaged
        _, first, line = np.unique(ky, return_index=True, return_inverse=True)
        alike = order % 2 == order[first][line.ravel()] % 2
        centre, ky, order = centre[alike], ky[alike], order[alike]
    groups = [("every other line", ky)] if order is None else [("every other line", ky), ("every other readout", order)]
    intact = _residual(centre, ky)
    if intact is None:
        return None
    best, displacement = intact / DISPLACED_RATIO, None
    for (which, number), shift in product(groups, range(-MAX_DISPLACEMENT, MAX_DISPLACEMENT + 1)):
        other = np.roll(centre, shift, -1) if shift else -centre
        residual = _residual(np.where((number % 2 == 1)[:, None, None], other, centre), ky)
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


def _residual(samples: Samples, ky: Index) -> float | None:
    """Fraction of the energy of patches of the time average in the small singular values; None with few patches."""
    lines = np.arange(-PATCH_DISTANCE, PATCH_DISTANCE + 1)
    is_measured = np.isin(lines, ky)
    inner = samples[..., MAX_DISPLACEMENT:-MAX_DISPLACEMENT]
    average = np.zeros((inner.shape[1], len(lines), inner.shape[2]), np.complex128)
    for i in np.flatnonzero(is_measured):
        average[:, i] = inner[ky == lines[i]].mean(0)
    n_points = len(inner[0]) * PATCH[0] * PATCH[1]
    if inner.shape[2] < PATCH[1]:
        return None
    is_whole = sliding_window_view(is_measured, PATCH[0]).all(1)
    patches = sliding_window_view(average, PATCH, axis=(1, 2)).transpose(1, 2, 0, 3, 4)[is_whole].reshape(-1, n_points)
    if len(patches) < MIN_PATCHES * n_points:
        return None
    energies = np.linalg.eigvalsh(patches.conj().T @ patches)
    total = float(energies.sum())
    return float(energies[: -max(int(SIGNAL_FRACTION * n_points), 1)].clip(0).sum()) / total if total > 0 else None
