"""Agreement of the frames near the centre of k-space: line numbers, position of the image, and phase.

The phase of a line near the centre of k-space hardly changes over the frames of a cine. If it does, an RF phase or a
frequency drift was not corrected. Single frames may then be correct, but frames cannot be combined.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.central import MAX_FRAMES, PHASE_DISTANCE, CentralReadouts, Samples, frame_warnings
from cinerecon.acquisition.checks.coil_changes import GAP_OVER_SPREAD, MIN_SAMPLES, two_groups
from cinerecon.acquisition.layout import ScanLayout
from cinerecon.axes import centre_slice
from cinerecon.io.ismrmrd.raw import Index

MIN_ALTERNATING, ALTERNATING_RATIO = 6, 1.3
"""Smallest number of frames for the detection of alternating frames, and smallest ratio of the energy at the highest
temporal frequency to the smallest energy at all others: 1.5 to 60 for velocity encodings, at most 1.1 in cines and in
noise."""
MIN_COHERENCE = 0.75
"""Coherence of the phase over the frames (1 if constant) below which it is reported; cines whose phase changes as fast
as in measured cines have at least 0.83."""
MIN_READOUTS = 3
"""Smallest number of readouts of a line whose phases are compared."""
MIN_COMPARED = 4
"""Smallest number of pairs of readouts whose phases are compared."""
MIN_OTHERS = 2
"""Smallest number of other frames that contain a line for line numbers to be compared."""
MIN_DIFFERENCE = 0.05
"""Difference between the correlations with the adjacent and the same line above which a line number is wrong; at least
0.2 if it is wrong, at most -0.1 in intact scans."""
MIRROR_SUMS = (-1, 0, 1)
"""Sums of the numbers, counted from the centre, of two exchanged lines: 0 for mirroring about the centre, the others
for mirroring about the middle of a grid with an even number of lines."""
MIRRORED_DIFFERENCE = 0.15
"""Difference between the correlations with the mirrored and the same line of other frames above which a frame is
mirrored: about 0.5 if it is, 0 in noise, at most -0.1 in intact scans. The limit is larger for fewer than `MIN_SAMPLES`
samples of all coils."""
N_COLUMNS = 64
"""Number of central columns from which the position of the image is determined."""
LARGEST_SHIFT, SHIFT_STEP = 16.0, 0.25
"""Largest shift of the image along x that is examined, and the step size [pixels]."""
SHIFT_GAP = 2.5
"""Gap between two groups of positions [pixels] above which frames are shifted: 0.5 in most intact scans, up to 1.8 in
phantoms with few frames and much motion."""
NOISE_DEVIATIONS = 5.0
"""Number of standard deviations above the mean phase correlation of noise below which a position is due to noise."""
MIN_FRAMES = 4
"""Smallest number of frames whose positions are compared."""


def mirrored_frame_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about frames whose lines are numbered in the opposite direction."""
    what = "lines are numbered in the opposite direction compared with the other frames, so ky is mirrored"
    yield from frame_warnings(mirrored_frames(*central.near[1:]), f"{what}: do not trust the image")


def displaced_frame_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about frames whose lines agree better with the adjacent than with the same line of other frames."""
    _, samples, frames, ky = central.near
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
    what = "the central lines resemble adjacent lines of other frames: their line numbers are wrong"
    yield from frame_warnings(displaced, f"{what}; do not trust the image")


def shifted_frame_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about frames whose images are shifted along x relative to most other frames.

    The shift relative to the frame with the most lines is the position of the maximum of the phase correlation. Motion
    is gradual and local, so the maximum remains at the position of static tissue. Shifted frames form a separate group.
    """
    _, samples, frames, ky = central.near
    if not len(frames):
        return
    columns = centre_slice(samples.shape[-1], N_COLUMNS)
    position = (np.arange(samples.shape[-1]) - samples.shape[-1] // 2)[columns]
    largest = min(LARGEST_SHIFT, samples.shape[-1] / 2 - SHIFT_STEP)  # a shift by the full width has no effect
    shifts = np.arange(-largest, largest + SHIFT_STEP / 2, SHIFT_STEP)
    transform = np.exp(2j * np.pi / samples.shape[-1] * np.outer(position, shifts))
    numbers, n_lines = np.unique(frames, return_counts=True)
    reference = {int(ky[i]): samples[i][:, columns] for i in np.flatnonzero(frames == numbers[n_lines.argmax()])}
    compared, best = [], []
    for frame in numbers:
        own = {int(ky[i]): samples[i][:, columns] for i in np.flatnonzero(frames == frame) if int(ky[i]) in reference}
        if own:
            products = np.array([(own[line] * reference[line].conj()).sum(0) for line in own])
            phasors = products / np.maximum(np.abs(products), np.finfo(float).tiny)
            agreement = np.abs(phasors @ transform).sum(0)
            if agreement.max() > _largest_in_noise(*phasors.shape):
                compared.append(int(frame))
                best.append(shifts[agreement.argmax()])
    if len(compared) < MIN_FRAMES:
        return
    shift = np.array(best)
    differing, gap, spread = two_groups(shift)
    if gap >= max(SHIFT_GAP, GAP_OVER_SPREAD * spread):
        n_pixels = abs(np.median(shift[differing]) - np.median(shift[~differing]))
        what = f"the image is shifted by {n_pixels:.1f} pixels along x relative to the other frames"
        cause = "the receiver frequency or the position changed; do not trust images that combine frames"
        yield from frame_warnings([compared[i] for i in np.flatnonzero(differing)], f"{what}: {cause}")


def _largest_in_noise(n_lines: int, n_columns: int) -> float:
    """Limit of the phase correlation of lines of white noise at all shifts.

    The magnitude of a sum of ``n`` random phasors has mean ``sqrt(pi n) / 2`` and variance ``(1 - pi / 4) n``.
    """
    mean, deviation = np.sqrt(np.pi) / 2, np.sqrt(1 - np.pi / 4)
    return float(np.sqrt(n_columns) * (n_lines * mean + NOISE_DEVIATIONS * np.sqrt(n_lines) * deviation))


def phase_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning if the phase of the lines changes from frame to frame."""
    _, samples, _, ky = central.near
    pairs = _pairs_with_strongest(samples, ky)
    if len(pairs) < MIN_COMPARED:
        return
    products = np.einsum("rcx,rcx->r", samples[pairs[:, 0]], samples[pairs[:, 1]].conj())
    sums = sum(abs(products[ky[pairs[:, 0]] == line].sum()) for line in np.unique(ky))
    coherence = float(sums / np.abs(products).sum()) if products.any() else 1.0
    if coherence < MIN_COHERENCE:
        yield (
            f"the phase of the central lines changes from frame to frame (coherence {coherence:.2f}, expected "
            "0.83 to 1): an RF phase or a frequency drift was not corrected; do not trust images that combine "
            "frames"
        )


def velocity_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning if the header contains a VENC and every other frame differs although all readouts belong to one set."""
    venc_cm_s = layout.raw.header.venc_cm_s
    if venc_cm_s is not None and _alternates(layout):
        yield (
            f"the header has a VENC of {venc_cm_s:g} cm/s and the readouts belong to one set, but every other "
            "frame is different: are velocity encodings numbered as frames? if so, number them in the counter "
            "set, and do not trust this image"
        )


def _alternates(layout: ScanLayout) -> bool:
    """Whether every other frame of the middle slice differs, judged by the central lines that all frames contain."""
    own, centre = layout.lines.of_slice(layout.middle_slice), layout.grid.ky // 2
    n_frames = min(int(own.frames.max()) + 1, MAX_FRAMES) // 2 * 2
    own = own.where((np.abs(own.ky - centre) <= PHASE_DISTANCE) & (own.frames < n_frames))
    own = own.where(layout.raw.is_readable(own.row))
    own = own.where(np.unique(np.stack([own.ky, own.frames], 1), axis=0, return_index=True)[1])
    ky, counts = np.unique(own.ky, return_counts=True)
    own = own.where(np.isin(own.ky, ky[counts == n_frames]))
    if n_frames < MIN_ALTERNATING or own.row.size == 0:
        return False
    samples = layout.samples(own)
    power = (np.abs(np.fft.fft(samples.reshape(-1, n_frames, samples[0].size), axis=1)) ** 2).sum((0, 2))
    half = n_frames // 2
    return bool(power[half] > ALTERNATING_RATIO * power[1:half].min())


def mirrored_frames(samples: Samples, frames: Index, ky: Index) -> list[int]:
    """The frames whose lines are numbered in the opposite direction to the majority.

    Each pair of frames is compared directly and with one of the two frames mirrored. If some frames are mirrored,
    mirroring improves the agreement between two groups of frames and reduces it within each group.
    """
    if not len(frames):
        return []
    numbers, position = np.unique(frames, return_inverse=True)
    readouts = np.full((len(numbers), 2 * PHASE_DISTANCE + 1), -1)
    readouts[position.ravel(), ky + PHASE_DISTANCE] = np.arange(len(ky))
    vectors = samples.reshape(len(samples), -1)
    products = np.abs(vectors @ vectors.conj().T)
    limit = MIRRORED_DIFFERENCE * max(MIN_SAMPLES / vectors.shape[1], 1.0) ** 0.5
    for line_sum in MIRROR_SUMS:
        gain = _gain_of_mirroring(products, readouts, line_sum)
        if not np.isfinite(gain).any():
            continue
        is_mirrored = np.linalg.eigh(np.nan_to_num(gain))[1][:, 0] > 0  # the signs maximise the gain between groups
        if 2 * is_mirrored.sum() > len(numbers) or (2 * is_mirrored.sum() == len(numbers) and is_mirrored[0]):
            is_mirrored = ~is_mirrored
        between = np.ma.masked_invalid(gain[:, ~is_mirrored]).mean(1).filled(-1.0)
        mirrored = numbers[is_mirrored & (between > limit)]
        if mirrored.size:
            return [int(frame) for frame in mirrored]
    return []


def _gain_of_mirroring(products: NDArray[np.floating], readouts: Index, line_sum: int) -> NDArray[np.float64]:
    """Correlation of each frame with the mirrored lines of each other frame, minus that with the same lines.

    Parameters
    ----------
    products
        ``(readouts, readouts)`` magnitudes of inner products.
    readouts
        ``(frames, lines)`` index of the readout of each line of a frame; -1 if it was not measured.
    line_sum
        Sum of the numbers of two exchanged lines; a line that keeps its position is not compared.

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
    """Magnitude of the energy-weighted correlation of pairs of lines ``(coils, kx)``; 0 without pairs."""
    norms = sum(float(np.linalg.norm(line) * np.linalg.norm(other)) for line, other in pairs)
    return sum(abs(complex(np.vdot(line, other))) for line, other in pairs) / norms if norms else 0.0


def _pairs_with_strongest(samples: Samples, ky: Index) -> Index:
    """Pairs of each readout and the strongest readout of the same line, ``(pairs, 2)``."""
    norms = np.linalg.norm(samples, axis=(1, 2))
    pairs = []
    for line in np.unique(ky):
        readouts = np.flatnonzero(ky == line)
        if len(readouts) < MIN_READOUTS:
            continue
        strongest = int(readouts[norms[readouts].argmax()])
        pairs += [(int(i), strongest) for i in readouts if i != strongest]
    return np.array(pairs, np.intp).reshape(-1, 2)
