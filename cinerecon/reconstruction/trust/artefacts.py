"""Signs of artefacts in data and image: faults of the receiver, wrap-around, and motion between heartbeats.

The receiver may be saturated, without signal in a coil, or disturbed by spikes.

Wrap-around is signal at both edges of the field of view that continues across them in the coil images.

The lines of a frame are measured in several heartbeats. If the body moved between them, a line of one beat belongs to
the displaced body, and its phase changes linearly along kx and from line to line. If the heart contracted differently,
the line changes over the frames in a different way from the other lines.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c, ifft2c, phasor
from cinerecon.physics.sampling import sampling_kind
from cinerecon.physics.views import frame_phases, time_average
from cinerecon.reconstruction.trust.consistency import CENTRE_RADIUS, decibels
from cinerecon.reconstruction.trust.hold_out import power

LIMIT_RANGE = (0.95, 0.999)
"""Lowest and highest limit of the receiver, relative to the largest real or imaginary part of a coil."""
N_STDS_AT_LIMIT = 5
"""Distance from the largest sample within which a sample is at the limit of the receiver [standard deviations of the
noise]."""
N_RINGS, FIRST_RING = 16, 5
"""Number of rings of k-space, the last of which includes the corners, and first ring outside the centre in which
samples are compared."""
LEAST_LEVEL = 1e-10
"""Power relative to the largest sample to which smaller samples are raised."""

N_SIGNAL_ROWS = 2
"""Number of rows at each edge of the field of view in which the signal is measured."""
N_ROWS = 10
"""Number of rows at each edge between which differences are computed."""
DISTANCES = (1, 3, 5)
"""Distances between rows whose differences are compared [pixels]; more than 1 for images with low resolution."""
LOWEST_WRAP_DB = -28.0
"""Lowest value of the feature, for images without wrap-around [dB]."""

DISPLACEMENT_EXTENT = 0.3
"""Fraction of k-space around its centre whose lines are examined for displacements."""
MIN_LINE_ENERGY = 1e-3
"""Energy of a line, relative to the strongest line, below which its displacement is not measured."""
MIN_DISPLACEMENT = 0.05
"""Smallest displacement that can be distinguished from zero [pixels]."""
MAX_LINE = 6
"""Distance from the centre up to which time courses of lines are compared."""
N_COMPONENTS = 2
"""Number of temporal principal components that are compared between two lines, which must have more points."""
MIN_SIGNAL = 1.5
"""Largest singular value of the temporal change of a line, relative to that of noise, below which it is not
compared."""

Values = Mapping[str, float]


def receiver_values(data: CineData, noise_std: float) -> Values:
    """Signs of a receiver that is saturated, without signal, or disturbed.

    ``saturation`` is log2(1 + n), with n the number of samples per frame whose real or imaginary part is nearly the
    largest of the coil, apart from those at the position with the most of them, for the worst coil: k-space has a sharp
    maximum, which becomes flat if it is clipped. ``silent_coil`` is the noise relative to the central samples of the
    coil with the least signal [dB], 0 if it has none; NaN with one coil and with virtual coils. ``spike`` is the
    largest sample relative to the median at the same distance from the centre [dB].
    """
    return {
        "saturation": math.log2(1 + _n_at_limit(data, noise_std) / data.n_frames),
        "silent_coil": math.nan if data.n_coils == 1 or data.meta.compression else _silence(data, noise_std),
        "spike": _largest_spike(data),
    }


def _n_at_limit(data: CineData, noise_std: float) -> int:
    """Number of samples at the limit, apart from those at the position with the most, for the coil with the most."""
    parts = torch.view_as_real(data.kspace).abs().amax(-1)  # (frames, coils, ky, kx)
    largest = parts.amax((0, 2, 3), keepdim=True)
    lowest, highest = (share * largest for share in LIMIT_RANGE)
    limit = (largest - N_STDS_AT_LIMIT * noise_std / math.sqrt(2)).clamp(lowest, highest)
    n_at_position = ((parts >= limit) & (limit > 0)).sum(0).flatten(1)  # (coils, positions)
    return int((n_at_position.sum(1) - n_at_position.amax(1)).max())


def _silence(data: CineData, noise_std: float) -> float:
    """Power of the noise relative to that of the central samples of the coil with the least signal [dB]."""
    size = [max(4, round(CENTRE_RADIUS / 2 * n)) for n in data.matrix]
    energy = power(centre_crop(data.kspace, (size[0], size[1]))).sum((0, 2, 3))  # (coils,)
    sampled = centre_crop(data.mask.expand(*data.mask.shape[:-1], data.matrix[1]), (size[0], size[1]))
    signal = float(energy.min()) / max(float(sampled.sum()), 1.0)
    return min(decibels(noise_std**2 / max(signal, 1e-30)), 0.0)


def _largest_spike(data: CineData) -> float:
    """Power of the largest sample relative to the median of its ring, over all rings outside the centre [dB].

    Zeros are not samples of a receiver; an elliptical filter leaves them in the corners of k-space.
    """
    y, x = (torch.arange(n, device=data.mask.device) - n // 2 for n in data.matrix)
    radius = torch.hypot(y[:, None] / (data.matrix[0] / 2), x / (data.matrix[1] / 2))
    rings = (radius * N_RINGS).long().clamp(max=N_RINGS - 1)
    energy = power(data.kspace).amax(1)  # (frames, ky, kx)
    sampled, largest, least = data.mask[:, 0] & (energy > 0), 0.0, LEAST_LEVEL * float(energy.max())
    for number in range(FIRST_RING, N_RINGS):
        values = energy[sampled & (rings == number)]
        if len(values):
            largest = max(largest, float(values.max()) / max(float(values.median()), least, 1e-30))
    return decibels(largest)


def edge_values(data: CineData, image: Tensor, brightness: float) -> Values:
    """Signs of wrap-around along y [dB]: signal at the edges of the field of view that continues across them.

    The image of an object that is larger than the field of view has signal at both edges, and in each coil image the
    signal continues, in magnitude and phase, from the last row to the first. An image that was merely cropped does not
    continue across the edges, and an image that ends inside the field of view has no signal at one edge.
    ``wrap_around`` is the common energy of the first and last rows relative to the brightness of the image, minus half
    of the excess of the differences across the edges over those between rows inside at the same distance, summed over
    `DISTANCES`. It has its lowest value if outer rows are discarded (phase oversampling), since wrapped tissue appears
    there.

    Parameters
    ----------
    data
        The measured data, without batch axes.
    image
        ``(frames, y, x)`` image.
    brightness
        Magnitude of the bright pixels of the image.
    """
    magnitude = image.abs().mean(0)
    signal = torch.cat([magnitude[-N_SIGNAL_ROWS:], magnitude[:N_SIGNAL_ROWS]])
    values = {"edge_signal": 2 * decibels(float(signal.mean()) / brightness), "wrap_around": LOWEST_WRAP_DB}
    if data.meta.crop_y is None:
        coils = coil_images(data, image)
        rows = torch.cat([coils[:, -N_ROWS:], coils[:, :N_ROWS]], 1)
        common = (rows[:, N_ROWS - 1].conj() * rows[:, N_ROWS]).real.sum(0).mean()
        excess = sum(max(0.0, excess_across(rows, distance)) for distance in DISTANCES)
        values["wrap_around"] = max(decibels(float(common) / brightness**2) - excess / 2, LOWEST_WRAP_DB)
    return values


def excess_across(rows: Tensor, distance: int) -> float:
    """Squared difference of two rows across the edges, relative to the mean of that between rows inside [dB].

    Parameters
    ----------
    rows
        ``(coils, rows, x)``, the last rows of the image followed by as many of the first rows.
    distance
        Distance between the two rows, odd.
    """
    n_inside = rows.shape[1] // 2 - distance
    differences = torch.view_as_real(rows[:, distance:] - rows[:, :-distance]).square().sum((0, 2, 3))
    inside = torch.cat([differences[:n_inside], differences[-n_inside:]]).mean()
    across = differences[len(differences) // 2]
    return decibels(float(across / inside.clamp(min=1e-30)))


def coil_images(data: CineData, image: Tensor) -> Tensor:
    """Time-averaged coil images, ``(coils, y, x)``: as measured, or as in the image where nothing was measured."""
    mean = image.mean(0)
    predicted = fft2c(mean[None] if data.csm is None else data.csm * mean)
    return ifft2c(torch.where(data.mask.any(0), time_average(data.kspace, data.mask), predicted))


def displacement_values(data: CineData) -> Values:
    """Displacement of lines around the centre relative to the mean of the same lines in other frames.

    The product of a line and the conjugate of that mean has a phase that is linear along kx, with the displacement
    along x as its slope; the remaining phase is ky times the displacement along y, after the phase that all lines of a
    frame share has been removed. ``line_displacement`` is the root sum of squares of the median displacements along x
    and y [dB relative to a pixel]. NaN for masks of single points, for real-time scans, whose frames may be displaced
    relative to each other without harm, and if no line was sampled twice.
    """
    if sampling_kind(data.mask) == "points" or data.meta.is_real_time:
        return {"line_displacement": math.nan}
    n_y, n_x = data.matrix
    size = max(4, round(DISPLACEMENT_EXTENT * n_y)), max(4, round(DISPLACEMENT_EXTENT * n_x))
    mask = centre_crop(data.mask.any(-1, keepdim=True), (size[0], 1))
    mask = mask & (mask.sum(0) > 1)
    kspace = centre_crop(data.kspace / frame_phases(data.kspace, data.mask), size) * mask
    others = (kspace.sum(0) - kspace) / (mask.sum(0) - 1).clamp(min=1) * mask
    product = (kspace * others.conj()).sum(1)  # (frames, ky, kx)
    lengths = (power(kspace).sum(1) * power(others).sum(1)).sqrt()
    pairs = lengths[..., 1:] * lengths[..., :-1]
    steps = product[..., 1:] * product[..., :-1].conj() / pairs.sqrt().clamp(min=1e-30)
    slope = steps.sum(-1).angle()  # (frames, ky), per sample along kx
    energy = pairs.sqrt().sum(-1)
    y, x = (torch.arange(n, device=mask.device) - n // 2 for n in size)
    counted = (energy > MIN_LINE_ENERGY * energy.max()) & (y != 0)
    if not counted.any():
        return {"line_displacement": math.nan}
    rest = (product * phasor(-slope)[..., None] ** x).sum(-1).angle()
    along_x = (slope * n_x / (2 * math.pi))[counted].abs().median()
    along_y = (rest * n_y / (2 * math.pi * y))[counted].abs().median()
    distance = max(math.hypot(float(along_x), float(along_y)), MIN_DISPLACEMENT)
    return {"line_displacement": 20 * math.log10(distance)}


def time_course_values(data: CineData, noise_std: float) -> Values:
    """Whether lines around the centre change over the frames in the same way, from points that all frames sampled.

    The temporal principal components of two lines span nearly the same space if all lines show the same heartbeat.
    ``time_course_mismatch`` is 1 minus the mean squared canonical correlation, averaged over pairs of lines and
    weighted by their signal above the noise. NaN if fewer than two such lines exceed the noise.
    """
    common = data.mask.all(0)[0].expand(data.matrix)  # (ky, kx)
    n_points = common.sum(1)
    rows = (n_points > N_COMPONENTS).nonzero().ravel()
    rows = rows[(rows - data.matrix[0] // 2).abs() <= MAX_LINE]
    if len(rows) < 2:
        return {"time_course_mismatch": math.nan}
    lines = (data.kspace[:, :, rows] * common[rows]).movedim(2, 0).flatten(2)  # (lines, frames, samples)
    components, strength, _ = torch.linalg.svd(lines - lines.mean(1, keepdim=True), full_matrices=False)
    noise = noise_std * (math.sqrt(data.n_frames) + (n_points[rows] * data.n_coils).sqrt())
    weight = (strength[:, 0] / noise.clamp(min=1e-30) - MIN_SIGNAL).clamp(min=0, max=1e6)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    weights = torch.minimum(weight[first], weight[second])
    if not float(weights.sum()) > 0:
        return {"time_course_mismatch": math.nan}
    spaces = components[..., :N_COMPONENTS]
    overlap = spaces[first].mH @ spaces[second]  # (pairs, components, components)
    mismatch = 1 - power(overlap).sum((1, 2)) / N_COMPONENTS
    return {"time_course_mismatch": float((weights * mismatch).sum() / weights.sum())}
