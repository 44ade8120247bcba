"""Normalisation of the data of a network: a scale, and the mean phase over time.

Data are divided by the scale, which is computed from undersampled data alone and grows in proportion to them, and the
image is multiplied by it, so that every network is equivariant to the scale of its data, even if its layers are not.

Demodulation moves the mean phase over time from the image into the coil maps, so that the image is nearly real.
Convolutions act on real and imaginary parts and would otherwise have to learn each edge for every value of the phase.
The imaginary part that remains is noise, aliasing, and phase that changes over time. Since the coil maps contain the
phase, networks need no knowledge of it.
"""

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import view_shared_image
from cinerecon.methods.model_file import ScaleName
from cinerecon.physics.coils import time_average
from cinerecon.physics.operators import Encoding


def scale_of(data: CineData, rule: ScaleName) -> Tensor:
    """The scale by which a cine without batch axes is divided.

    Parameters
    ----------
    data
        Undersampled or not.
    rule
        ``brightness``: see `image_scale`. An undersampled scan shows it nearly as a full one does.
        ``max``: largest magnitude of the view-shared image. Approximates the maximum of the fully sampled series, which
        is 1 where single-coil networks of the literature were trained; on eight real series it is 0.65 to 1 times
        that under 16 radial spokes, and 0.67 to 1 times under Gaussian lines at 8x.
        ``kspace_max``: largest magnitude in k-space over all coils; the same as of full data wherever the centre is
        sampled. Multi-coil networks of the literature were trained on k-space of maximum 1.
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
    """Phase factors ``(..., y, x)`` of the time average of a series ``(..., frames, y, x)``; 1 where that is 0.

    Parameters
    ----------
    image
        ``(..., frames, y, x)``.
    smoothing
        Standard deviation of a Gaussian by which the average is smoothed first [pixels]. Where voxels keep the phase of
        noise and aliasing, the demodulated image is rougher than the image.
    """
    mean = image.mean(-3)
    if smoothing:
        mean = _smoothed(mean, smoothing)
    magnitude = mean.abs()
    return torch.where(magnitude > 0, mean / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny), 1)


def _smoothed(image: Tensor, width: float) -> Tensor:
    """A complex image ``(..., y, x)`` convolved with a Gaussian of a standard deviation [pixels], cyclically."""
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
