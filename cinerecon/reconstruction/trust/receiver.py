"""Faults of the receiver: saturation, a coil without signal, and spikes."""

import math
from collections.abc import Mapping

import torch

from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.reconstruction.trust.consistency import CENTRE_RADIUS, decibels
from cinerecon.reconstruction.trust.hold_out import power

LIMIT_SHARE = 0.95
"""Fraction of the largest real or imaginary part of a coil above which a sample is at the limit of the receiver."""
N_RINGS, FIRST_RING = 16, 5
"""Number of rings of k-space, the last of which includes the corners, and first ring outside the centre in which
samples are compared."""
LEAST_LEVEL = 1e-10
"""Power relative to the largest sample to which smaller samples are raised."""

Values = Mapping[str, float]


def receiver_values(data: CineData, noise_std: float) -> Values:
    """Signs of a receiver that is saturated, without signal, or disturbed.

    ``saturation`` is the number of k-space positions [log2] at which the real or imaginary part is nearly the largest
    of the coil, for the worst coil: k-space has a sharp maximum, which becomes flat if it is clipped. ``silent_coil``
    is the noise relative to the central samples of the coil with the least signal [dB], 0 if it has none; NaN with one
    coil and with virtual coils. ``spike`` is the largest sample relative to the median at the same distance from the
    centre [dB].
    """
    return {
        "saturation": math.log2(_n_at_limit(data)),
        "silent_coil": math.nan if data.n_coils == 1 or data.meta.compression else _silence(data, noise_std),
        "spike": _largest_spike(data),
    }


def _n_at_limit(data: CineData) -> int:
    """Number of k-space positions with samples at the limit, for the coil with the most, at least 1."""
    largest = torch.view_as_real(data.kspace).abs().amax((0, 4))  # (coils, ky, kx)
    limit = LIMIT_SHARE * largest.amax((1, 2), keepdim=True)
    return max(int(((largest >= limit) & (limit > 0)).sum((1, 2)).max()), 1)


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
