"""Detection of coils whose order, gain or phase differs between frames, and of coils with much or only noise.

The central lines of a coil hardly change from frame to frame, except for factors of the receiver. The factors of the
coils relative to each other are constant in intact scans and change gradually with the motion of the heart. If they
form two groups with a gap between them, the coil was received with two gains or phases, and coil maps fit only one of
the groups.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.central import (
    MIN_ENERGY_RATIO,
    PHASE_DISTANCE,
    CentralReadouts,
    Samples,
    central_of_scan,
    frame_warnings,
)
from cinerecon.acquisition.layout import ScanLayout
from cinerecon.axes import centre_slice
from cinerecon.io.ismrmrd.raw import Index
from cinerecon.words import name_frames, name_numbers, plural

MIN_PAIRS = 4
"""Smallest number of pairs of readouts from which the noise of a coil is determined."""
NOISE_CORRELATION, SIGNAL_CORRELATION = 0.25, 0.6
"""Largest correlation between a line and the next frame for a coil with only noise, and smallest median over all
coils."""
NOISE_AMPLITUDE = 0.8
"""Amplitude ratio to the median of all coils above which a noise-only coil is reported; coils far from the heart with
the noise level of the others are below it."""
NOISY_RATIO, NOISY_FRACTION = 5.0, 0.1
"""Noise of a coil above which it is reported: relative to the median of all coils, both by itself and divided by the
signal of the coil, and relative to its own signal at the centre of k-space. Intact scans have at most a third."""
MIN_NOISE_COILS = 3
"""Smallest number of coils whose noise is compared."""
SIGNAL_LINES, SIGNAL_COLUMNS = 4, 8
"""Lines and samples to each side of the centre of k-space that give the signal of a coil."""
MIN_SAMPLES = 64
"""Smallest number of samples of a readout for which noise and signal differ clearly in their correlation."""
EXCHANGED_DIFFERENCE = 0.1
"""Difference between the correlations with another and with the same coil of a frame above which coils are exchanged: 0
in intact scans, 0.2 to 0.6 if coils with different sensitivities are exchanged. The limit is larger if readouts have
fewer than `MIN_SAMPLES` samples, where the correlations of noise are larger."""

MIN_FRAMES, MIN_FRAMES_PHASE_GROUPS, MIN_FRAMES_GAIN_GROUPS = 3, 4, 6
"""Smallest number of frames in which factors are compared, and of frames with two groups of phases or gains; images
with few frames and a small field of view change as much within the heart."""
MIN_LINES = 3
"""Smallest number of lines of a frame from which its factors are determined, and of frames that measured each line."""
N_COLUMNS = 64
"""Number of central columns from which the factors are determined."""
N_ITERATIONS = 8
"""Number of iterations of the factorisation."""
COIL_GAIN = 2.0
"""Ratio of the gain of a coil in a frame to that in other frames, or its inverse, above which the coil was lost or has
a different gain; motion changes the gain by a factor of less than 1.5."""
GAIN_GAP, PHASE_GAP = 0.25, 0.6
"""Smallest gap between two groups of gains (logarithm) and of phases [rad]: at most 0.2 and 0.4 in most intact scans. A
group of gains contains at least two frames."""
GAP_OVER_SPREAD = 1.5
"""Smallest ratio of the gap to the spread of either group."""
GAIN_OVER_OTHERS, PHASE_OVER_OTHERS, OTHERS = 2.5, 1.75, 0.75
"""Smallest ratio between the change of a gain (logarithm), or the gap between phases, and this quantile of the ranges
of the other coils; motion changes the gains and phases of several coils, more so if frames share few lines."""


def noisier_coil_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning about coils with far more noise than the others, in scans that are not whitened."""
    if layout.config.whiten and len(layout.noise):
        return
    central = central_of_scan(layout, layout.middle_slice)
    _, samples, _, ky = central.near
    if not len(samples):
        return
    columns = centre_slice(samples.shape[-1], 2 * SIGNAL_COLUMNS + 1)
    centre = samples[np.abs(ky) <= SIGNAL_LINES][..., columns]
    signal = np.sqrt(np.square(np.abs(centre)).mean((0, 2)))
    is_noisier, ratio = noisier_coils(np.sqrt(central.noise_power), signal)
    noisier = np.setdiff1d(central.coils[is_noisier], _noise_only_coils(central))
    if len(noisier):
        reason = "there are no noise readouts" if layout.config.whiten else "preprocessing.whiten is false"
        yield (
            f"{name_numbers('coil', noisier.tolist())} of {len(central.coils)}: {ratio:.2g} times the noise of the "
            f"other coils, which are not whitened, since {reason}{central.exclusion(noisier)}"
        )


def noisier_coils(noise: NDArray[np.floating], signal: NDArray[np.floating]) -> tuple[NDArray[np.bool_], float]:
    """Find coils with far more noise than the others, which whitening would give a small weight.

    Parameters
    ----------
    noise, signal
        ``(coils,)`` amplitudes of the noise, and of the samples around the centre of k-space.

    Returns
    -------
    ``(coils,)`` whether a coil is noisier, and the largest ratio of the noise of such a coil to the median of all.
    """
    tiny = float(np.finfo(np.float32).tiny)
    if len(noise) < MIN_NOISE_COILS:
        return np.zeros(len(noise), bool), 0.0
    fraction: NDArray[np.floating] = noise / np.maximum(signal, tiny)
    louder, relative = (values / max(float(np.median(values)), tiny) for values in (noise, fraction))
    is_noisier = (louder > NOISY_RATIO) & (relative > NOISY_RATIO) & (fraction > NOISY_FRACTION)
    return is_noisier, float(louder[is_noisier].max(initial=0.0))


def noisy_coil_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about coils with normal amplitude whose lines are uncorrelated with those of the next frame."""
    noisy = _noise_only_coils(central)
    if len(noisy):
        listed = ",".join(map(str, noisy))
        yield (
            f"{plural('coil', len(noisy))} {listed}: only noise, as strong as the signal of the "
            f"others{central.exclusion(noisy)}"
        )


def _noise_only_coils(central: CentralReadouts) -> Index:
    """Coils with normal amplitude whose lines are uncorrelated with those of the next frame."""
    _, samples, frames, ky = central.near
    order = np.lexsort((frames, ky))
    is_pair = ky[order[1:]] == ky[order[:-1]]
    first, second = samples[order[:-1][is_pair]], samples[order[1:][is_pair]]
    if len(first) < MIN_PAIRS or len(central.coils) < 2 or samples.shape[-1] < MIN_SAMPLES:
        return central.coils[:0]
    norms = (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)).sum(0)
    correlation = np.abs((first * second.conj()).sum(-1)).sum(0) / np.where(norms > 0, norms, 1)
    amplitude = np.linalg.norm(samples, axis=(0, 2))
    is_loud = amplitude > NOISE_AMPLITUDE * np.median(amplitude)
    is_noise = is_loud & (correlation < NOISE_CORRELATION) & (np.median(correlation) > SIGNAL_CORRELATION)
    return np.asarray(central.coils[is_noise])


def coil_order_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about frames whose coils have a different order from the majority of frames.

    Coils with mostly noise are excluded, because they correlate with other coils as much as with themselves.
    """
    _, samples, frames, ky = central.near
    if not len(frames):
        return
    samples = samples[:, central.energy_ratio(samples).mean(0) > MIN_ENERGY_RATIO]
    numbers, n_lines = np.unique(frames, return_counts=True)
    reference = {int(ky[i]): samples[i] for i in np.flatnonzero(frames == numbers[n_lines.argmax()])}
    exchanged, n_compared = [], 0
    for frame in numbers:
        own = {int(ky[i]): samples[i] for i in np.flatnonzero(frames == frame) if int(ky[i]) in reference}
        pairs = [(own[line], reference[line]) for line in own]
        n_compared += bool(pairs)
        if pairs and are_coils_exchanged(pairs):
            exchanged.append(int(frame))
    if 2 * len(exchanged) > n_compared:
        exchanged = [int(frame) for frame in numbers if int(frame) not in exchanged]
    what = "the coils are in a different order than in the other frames, or are different coils"
    yield from frame_warnings(exchanged, f"{what}: do not trust the image")


def calibration_coil_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning if the coils of the calibration lines have a different order from those of the image lines.

    Only the first slice with calibration lines is examined.
    """
    lines, centre = layout.lines, layout.grid.ky // 2
    lines, calibration = (part.where(layout.raw.is_readable(part.row)) for part in (lines, layout.calibration))
    separate = calibration.where(~np.isin(calibration.row, lines.row))
    if separate.row.size == 0:
        return
    number = int(separate.slices.min())
    parts = (separate.of_slice(number), lines.of_slice(number))
    common = np.intersect1d(parts[0].ky, parts[1].ky)
    common = common[np.abs(common - centre) <= PHASE_DISTANCE]
    if common.size == 0:
        return
    first = (np.unique(part.ky, return_index=True) for part in parts)
    rows = [part.where(index[np.searchsorted(ky, common)]) for part, (ky, index) in zip(parts, first, strict=True)]
    if are_coils_exchanged([*zip(*map(layout.samples, rows), strict=True)]):
        yield (
            "the coils of the calibration lines are in a different order than those of the image lines, or are "
            "different coils: do not trust coil maps and image"
        )


def are_coils_exchanged(pairs: list[tuple[Samples, Samples]]) -> bool:
    """Whether coils of the first lines of pairs ``(coils, kx)`` agree better with other coils of the second lines."""
    products = sum(np.abs(line @ other.conj().T) for line, other in pairs)
    norms = sum(np.outer(np.linalg.norm(line, axis=-1), np.linalg.norm(other, axis=-1)) for line, other in pairs)
    correlation = products / np.where(norms > 0, norms, 1.0)
    largest = np.sort(correlation.max(-1) - correlation.diagonal())[-2:]
    limit = EXCHANGED_DIFFERENCE * max(MIN_SAMPLES / pairs[0][0].shape[-1], 1.0) ** 0.5
    if largest.mean() <= limit:
        return False  # exchanging two or more coils gains less on average; avoids a slow import

    from scipy.optimize import linear_sum_assignment

    own, other = linear_sum_assignment(-correlation)
    gain = (correlation[own, other] - correlation[own, own])[own != other]
    return bool(gain.size and gain.mean() > limit)


def coil_change_warnings(central: CentralReadouts) -> Iterator[str]:
    """Warnings about coils whose gain or phase differs in some frames while that of the other coils does not.

    Coils with little signal or mostly noise are excluded.
    """
    (_, samples, frames, ky), coils = central.near, central.coils
    if len(coils) < 2 or len(np.unique(frames)) < MIN_FRAMES:
        return
    amplitude = np.linalg.norm(samples, axis=-1).mean(0)
    is_strong = amplitude > np.median(amplitude) / 2
    is_strong &= central.energy_ratio(samples).mean(0) > MIN_ENERGY_RATIO
    if is_strong.sum() < 2:
        return
    is_shared = np.isin(ky, [line for line in np.unique(ky) if (ky == line).sum() >= MIN_LINES])
    is_known = np.isin(
        frames, [frame for frame in np.unique(frames) if (is_shared & (frames == frame)).sum() >= MIN_LINES]
    )
    used = is_shared & is_known
    if not used.any():
        return
    numbers, factors = coil_factors(samples[used][:, is_strong], frames[used], ky[used])
    if len(numbers) < MIN_FRAMES:
        return
    gains, phases = _relative_gains(factors), _relative_phases(factors)
    coils = coils[is_strong]
    for i, coil in enumerate(coils):
        differing = _different_gain(gains[:, i], np.delete(gains, i, axis=1))
        if differing.any():
            ratio = np.exp(_change(gains[:, i], differing))
            what = f"{ratio:.2g} times its amplitude in the others: its signal was lost, or its gain is different"
        else:
            differing = _different_phase(phases[:, i], np.delete(phases, i, axis=1))
            if not differing.any():
                continue
            mean = [np.exp(1j * phases[group, i]).sum() for group in (differing, ~differing)]
            what = (
                f"its phase differs by {abs(np.angle(mean[0] * np.conj(mean[1]))):.1f} rad from its phase in the others"
            )
        yield (
            f"coil {coil} in {name_frames(numbers[differing].tolist())}: {what}; do not trust images that combine "
            f"frames{central.exclusion(coils[[i]])}"
        )


def coil_factors(samples: Samples, frames: Index, ky: Index) -> tuple[Index, Samples]:
    """Factor of each coil in each frame, from a fit of the lines of a coil by common lines times these factors.

    Returns
    -------
    The frames that share lines with others, and their factors ``(frames, coils)``; the phases of all coils of a frame
    have an unknown common offset.
    """
    samples = samples[..., centre_slice(samples.shape[-1], N_COLUMNS)].astype(np.complex64)
    numbers, frame = np.unique(frames, return_inverse=True)
    lines, line = np.unique(ky, return_inverse=True)
    of_frame = (np.arange(len(numbers))[:, None] == frame.ravel()).astype(np.float32)  # (frames, readouts)
    of_line = (np.arange(len(lines))[:, None] == line.ravel()).astype(np.float32)
    factors = np.zeros((len(numbers), samples.shape[1]), np.complex64)
    factors[of_frame.sum(1).argmax()] = 1.0
    for _ in range(N_ITERATIONS):
        of_readouts = factors[frame.ravel()]
        sums = (of_line @ (of_readouts.conj()[..., None] * samples).reshape(len(samples), -1)).reshape(
            len(lines), *samples.shape[1:]
        )
        weights = of_line @ np.abs(of_readouts) ** 2
        common = (sums / np.where(weights > 0, weights, 1.0)[..., None])[line.ravel()]
        products = of_frame @ (samples * common.conj()).sum(-1)
        energies = of_frame @ (np.abs(common) ** 2).sum(-1)
        factors = products / np.where(energies > 0, energies, 1.0)
    is_known = (factors != 0).all(1)
    return numbers[is_known], factors[is_known]


def _relative_gains(factors: Samples) -> NDArray[np.float64]:
    """Logarithms of the coil gains relative to the median over all coils of the frame, ``(frames, coils)``."""
    gains = np.log(np.abs(factors))
    return np.asarray(gains - np.quantile(gains, 0.5, axis=1, keepdims=True, method="lower"))


def _relative_phases(factors: Samples) -> NDArray[np.float64]:
    """Phases relative to the coil of the frame that agrees best with the others, ``(frames, coils)`` [rad]."""
    phasors = factors / np.abs(factors)
    distances = np.abs(np.angle(phasors[:, :, None] * phasors[:, None].conj())).sum(2)
    middle = np.take_along_axis(phasors, distances.argmin(1)[:, None], 1)
    return np.asarray(np.angle(phasors * middle.conj()))


def _different_gain(gains: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the gain (logarithm) of a coil differs from that of most other frames, ``(frames,)`` bool.

    No frame differs if the gains of the other coils ``(frames, coils)`` change by the same order of magnitude.
    """
    differing = np.abs(gains - np.median(gains)) >= np.log(COIL_GAIN)
    if len(gains) >= MIN_FRAMES_GAIN_GROUPS:
        smaller, gap, spread = two_groups(gains)
        if smaller.sum() > 1 and gap > max(GAIN_GAP, GAP_OVER_SPREAD * spread):
            differing = smaller
    usual = np.quantile(np.ptp(others, axis=0), OTHERS)
    is_distinct = differing.any() and abs(_change(gains, differing)) > GAIN_OVER_OTHERS * usual
    return differing if is_distinct else np.zeros_like(differing)


def _different_phase(phases: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the phase [rad] of a coil differs from that of most other frames, ``(frames,)`` bool.

    No frame differs if the phases of the other coils ``(frames, coils)`` change by the same order of magnitude.
    """
    smaller, gap, spread = _groups_of_phases(phases)
    usual = np.quantile([2 * np.pi - _sorted_with_gaps(other)[1].max() for other in others.T], OTHERS)
    is_distinct = gap >= max(PHASE_GAP, GAP_OVER_SPREAD * spread, PHASE_OVER_OTHERS * usual)
    return smaller if is_distinct and len(phases) >= MIN_FRAMES_PHASE_GROUPS else np.zeros_like(smaller)


def _change(gains: NDArray[np.float64], differing: NDArray[np.bool_]) -> float:
    """Difference between the median of the selected gains and that of the others."""
    return float(np.median(gains[differing]) - np.median(gains[~differing]))


def two_groups(values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float, float]:
    """Split values at the largest gap into two groups: the smaller group, the gap, and the larger range of both groups.

    Parameters
    ----------
    values
        ``(n,)``, at least two. If both groups have the same size, the group without the first value is returned.
    """
    order = np.sort(values)
    gaps = np.diff(order)
    i = int(gaps.argmax())
    spread = max(order[i] - order[0], order[-1] - order[i + 1])
    return _smaller(values <= order[i]), float(gaps[i]), float(spread)


def _smaller(group: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The smaller of a group and its complement or, for equal sizes, the one without the first value."""
    n_rest = len(group) - group.sum()
    return ~group if group.sum() > n_rest or (group.sum() == n_rest and group[0]) else group


def _groups_of_phases(phases: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float, float]:
    """As `two_groups` for phases [rad]; the gap is the smaller of the two gaps between the groups on the circle."""
    order, gaps = _sorted_with_gaps(phases)
    first, last = np.sort(np.argsort(gaps)[-2:])
    inner = order[last] - order[first + 1]
    outer = 2 * np.pi - inner - gaps[first] - gaps[last]
    is_inner = (phases > order[first]) & (phases <= order[last])
    return _smaller(is_inner), float(min(gaps[first], gaps[last])), float(max(inner, outer))


def _sorted_with_gaps(phases: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phases [rad] in ascending order, and the gaps after each of them on the circle."""
    order = np.sort(phases)
    return order, np.append(np.diff(order), order[0] + 2 * np.pi - order[-1])
