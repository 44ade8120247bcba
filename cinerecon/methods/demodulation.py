"""Demodulation: the mean phase over time moves from the image into the coil maps, so that the image is nearly real.

Convolutions act on real and imaginary parts, and would otherwise have to learn each edge for every value of the phase.
What remains in the imaginary part is noise, aliasing and phase that changes over time. Since the coil maps contain the
phase, networks need not know about it.
"""

import torch
from torch import Tensor

from cinerecon.physics.operators import Encoding


def mean_phase(image: Tensor) -> Tensor:
    """Phase factors ``(..., y, x)`` of the time average of a series ``(..., frames, y, x)``; 1 where that is 0."""
    mean = image.mean(-3)
    magnitude = mean.abs()
    return torch.where(magnitude > 0, mean / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny), 1)


def demodulated(encoding: Encoding, phase: Tensor) -> Encoding:
    """The operator for images multiplied by ``phase.conj()``: its maps are multiplied by the phase ``(..., y, x)``.

    With a single coil of unit sensitivity, the phase becomes the coil map.
    """
    phase_map = phase.unsqueeze(-3)
    csm = phase_map if encoding.csm is None else encoding.csm * phase_map
    return Encoding(encoding.mask, csm, matrix=encoding.matrix, coils_at_once=encoding.coils_at_once)
