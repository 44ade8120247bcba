"""Detection of wrap-around: signal at both edges of the field of view that continues across them in the coil images."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.views import time_average
from cinerecon.reconstruction.trust.consistency import decibels

N_SIGNAL_ROWS = 2
"""Number of rows at each edge of the field of view in which the signal is measured."""
N_ROWS = 10
"""Number of rows at each edge between which differences are computed."""
DISTANCES = (1, 3, 5)
"""Distances between rows whose differences are compared [pixels]; more than 1 for images with low resolution."""
LOWEST_WRAP_DB = -40.0
"""Lowest value of the feature, for images without wrap-around [dB]."""


def edge_values(data: CineData, image: Tensor, brightness: float) -> Mapping[str, float]:
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
