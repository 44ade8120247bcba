"""Demodulation: the mean phase over time moves from the image into the coil maps, so that the image is nearly real.

Convolutions act on real and imaginary parts, and would otherwise have to learn each edge for every value of the phase.
What remains in the imaginary part is noise, aliasing and phase that changes over time. Since the coil maps contain the
phase, networks need not know about it.
"""

import torch
from torch import Tensor

from cinerecon.physics.operators import Encoding


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
    return torch.fft.ifft2(torch.fft.fft2(image) * window)


def demodulated(encoding: Encoding, phase: Tensor) -> Encoding:
    """The operator for images multiplied by ``phase.conj()``: its maps are multiplied by the phase ``(..., y, x)``.

    With a single coil of unit sensitivity, the phase becomes the coil map.
    """
    phase_map = phase.unsqueeze(-3)
    csm = phase_map if encoding.csm is None else encoding.csm * phase_map
    return Encoding(encoding.mask, csm, matrix=encoding.matrix, coils_at_once=encoding.coils_at_once)
