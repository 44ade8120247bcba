"""The phase that a network sees: each voxel turned so that the time average of the first image is real there.

Convolutions work on real and imaginary part, and must otherwise learn every edge once for each phase that it may have.
Turned, the image is nearly real: what is left in the imaginary part is noise, aliasing, and phase that moves. The coil
maps take the phase instead, so that no network has to know of it.
"""

import torch
from torch import Tensor

from cinerecon.physics.operators import Encoding


def still_phase(image: Tensor) -> Tensor:
    """The phase factors ``(..., y, x)`` of the time average of a series ``(..., frames, y, x)``; 1 where that is 0."""
    mean = image.mean(-3)
    magnitude = mean.abs()
    return torch.where(magnitude > 0, mean / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny), 1)


def turned(encoding: Encoding, phase: Tensor) -> Encoding:
    """The operator of the image times ``phase.conj()``: its maps times the phase; for one coil the phase is the map."""
    turned_map = phase.unsqueeze(-3)
    csm = turned_map if encoding.csm is None else encoding.csm * turned_map
    return Encoding(encoding.mask, csm, matrix=encoding.matrix, coils_at_once=encoding.coils_at_once)
