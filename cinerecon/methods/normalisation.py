"""Adaptation of the data of a scan to those of the training of a network: scale, phase and noise.

Data are divided by a scale that is computed from the undersampled data alone and is proportional to them, and the image
is multiplied by it. Every network is therefore equivariant to the scale of its data, even if its layers are not.

Demodulation transfers the temporal mean phase from the image to the coil maps, so that the image is nearly real.
Convolutions act on real and imaginary parts and would otherwise have to learn each edge for every value of the phase.
The remaining imaginary part is noise, aliasing, and phase that changes over time. Networks need no information about
the phase, since the coil maps contain it.

The data consistency of a network is learned for the noise of its training. With much more noise, a network leaves a
part of it in the image. The samples y are then replaced by

    A x + w (y - A x),    w = (largest noise in training) / (noise of the scan),

where x is the image of k-t SLR, whose penalties grow with the noise. The noise of y is thereby that of the training;
the stronger it is, the closer are the new samples to A x, and the image of the network to x.
"""

from dataclasses import replace

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import make_encoding, relative_noise, view_shared_image
from cinerecon.methods.card import Card
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.model_file import ScaleName
from cinerecon.physics.operators import Encoding
from cinerecon.physics.views import time_average

NOISE_RATIO = 2.0
"""Ratio of the noise of a scan to the largest in training, above which it is reduced and a warning is issued."""


def scale_of(data: CineData, rule: ScaleName) -> Tensor:
    """The scale by which a cine without batch axes is divided.

    Parameters
    ----------
    data
        Fully sampled or undersampled data.
    rule
        ``brightness``: see `image_scale`; nearly the same for undersampled and fully sampled data.
        ``max``: largest magnitude of the view-shared image. It approximates the maximum of the fully sampled series,
        which is 1 in the training of published single-coil networks; in eight measured series it was 0.65 to 1 times
        this maximum for 16 radial spokes, and 0.67 to 1 times for Gaussian lines at 8x.
        ``kspace_max``: largest magnitude in k-space over all coils; the same as for fully sampled data if the centre is
        sampled. Published multi-coil networks were trained on k-space with a maximum of 1.
    """
    if rule == "kspace_max":
        scale = torch.stack([coil.abs().amax() for coil in data.kspace.unbind(-3)]).amax()
    elif rule == "max":
        scale = view_shared_image(data).abs().amax()
    else:
        full_encoding = Encoding(torch.ones_like(data.mask[:1]), data.csm, matrix=data.matrix, dtype=data.kspace.dtype)
        scale = image_scale(full_encoding.adjoint(time_average(data.kspace, data.mask).unsqueeze(-4)))
    return scale.clamp(min=torch.finfo(scale.dtype).tiny)


def image_scale(image: Tensor) -> Tensor:
    """Brightness of a cine ``(frames, y, x)``: the 99.5th percentile of the magnitude of its mean over time."""
    brightness = torch.quantile(image.mean(0).abs().flatten(), 0.995)
    return brightness.clamp(min=torch.finfo(brightness.dtype).tiny)


def mean_phase(image: Tensor, smoothing: float = 0.0) -> Tensor:
    """Phase factors ``(..., y, x)`` of the time average of a series ``(..., frames, y, x)``; 1 where the average is 0.

    Parameters
    ----------
    image
        ``(..., frames, y, x)``.
    smoothing
        Standard deviation of the Gaussian by which the average is smoothed first [pixels]. Without smoothing, the phase
        contains noise and aliasing, and the demodulated image is less smooth than the original one.
    """
    mean = image.mean(-3)
    if smoothing:
        mean = _smoothed(mean, smoothing)
    magnitude = mean.abs()
    return torch.where(magnitude > 0, mean / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny), 1)


def _smoothed(image: Tensor, width: float) -> Tensor:
    """A complex image ``(..., y, x)`` cyclically convolved with a Gaussian of standard deviation `width` [pixels]."""
    y, x = (torch.fft.fftfreq(n, device=image.device, dtype=image.real.dtype) for n in image.shape[-2:])
    window = torch.exp(-2 * (torch.pi * width) ** 2 * (y[:, None].square() + x.square()))
    smooth: Tensor = torch.fft.ifft2(torch.fft.fft2(image) * window)
    return smooth


def demodulate_encoding(encoding: Encoding, phase: Tensor) -> Encoding:
    """The operator for images multiplied by ``phase.conj()``: its maps are multiplied by the phase ``(..., y, x)``.

    With a single coil of unit sensitivity, the phase becomes the coil map.
    """
    phase_map = phase.unsqueeze(-3)
    csm = phase_map if encoding.csm is None else encoding.csm * phase_map
    return Encoding(encoding.mask, csm, matrix=encoding.matrix, coils_at_once=encoding.coils_at_once)


def excessive_noise(card: Card, data: CineData) -> float:
    """Factor by which the noise of a scan exceeds the largest in training; 0 unless it is more than `NOISE_RATIO`.

    Parameters
    ----------
    card
        The card of the weights.
    data
        The scan, without batch axes.
    """
    if card.noise is None or card.noise[1] <= 0:
        return 0.0
    factor = relative_noise(data, float(scale_of(data, "brightness"))) / card.noise[1]
    return factor if factor > NOISE_RATIO else 0.0


def with_less_noise(data: CineData, weight: float) -> CineData:
    """The data, with samples moved towards those of the image of k-t SLR.

    Parameters
    ----------
    data
        The scan, without batch axes.
    weight
        Weight w of the difference between measured samples and those of the image, and thus the factor of the noise.
    """
    predicted = make_encoding(data).forward(KtSlr()(data))
    return replace(data, kspace=predicted.lerp_(data.kspace, weight))
