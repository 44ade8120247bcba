"""Scans with more noise than the training data of a network: their noise, and its reduction before the network.

The data consistency of a network is learned for the noise of its training. With much more noise, a network leaves a
part of it in the image. The samples y are then replaced by

    A x + w (y - A x),    w = (largest noise in training) / (noise of the scan),

where x is the image of k-t SLR, whose penalties grow with the noise. The noise of y is thereby that of the training;
the stronger it is, the closer are the new samples to A x, and the image of the network to x.
"""

from dataclasses import replace

import torch

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor, make_encoding, relative_noise
from cinerecon.methods.card import Card

NOISE_RATIO = 2.0
"""Ratio of the noise of a scan to the largest in training, above which it is reduced and a warning is issued."""


def excessive_noise(card: Card, data: CineData, brightness: float) -> float:
    """Factor by which the noise of a scan exceeds the largest in training; 0 unless it is more than `NOISE_RATIO`.

    Parameters
    ----------
    card
        The card of the weights.
    data
        The scan, without batch axes.
    brightness
        Brightness of its image, to which the noise on the card is relative.
    """
    if card.noise is None or card.noise[1] <= 0:
        return 0.0
    factor = relative_noise(data, brightness) / card.noise[1]
    return factor if factor > NOISE_RATIO else 0.0


def with_less_noise(data: CineData, denoiser: Reconstructor, weight: float) -> CineData:
    """The data, with samples moved towards those of the image of a method.

    Parameters
    ----------
    data
        The scan, without batch axes.
    denoiser
        The method.
    weight
        Weight of the difference between measured samples and those of the image, and thus the factor of the noise.
    """
    predicted = make_encoding(data).forward(denoiser(data))
    return replace(data, kspace=torch.lerp(predicted, data.kspace, weight))
