"""Adaptive combination: coil maps from the local correlation between coil images.

Walsh, Gmitro, Marcellin 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.

Departs from the paper in: the noise is taken as white (whiten first); the correlation is averaged over a window around
every pixel, and not over blocks that are interpolated.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from cinerecon.physics.coils.eigenmaps import eigenmaps


def walsh(coil_images: Tensor, *, window: int = 7) -> Tensor:
    """Coil sensitivity maps by adaptive combination.

    1. Correlate the coils at each pixel, R_cd = I_c conj(I_d).
    2. Average R over a square window.
    3. Take the eigenvector of the largest eigenvalue: the coil weights that best explain the window.

    Parameters
    ----------
    coil_images
        ``(*batch, coils, y, x)`` complex.
    window
        Side of the window [pixels]. Larger is less noisy, smaller follows steeper maps.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1 at every pixel.
    """
    batch, (coils, y, x) = coil_images.shape[:-3], coil_images.shape[-3:]
    images = coil_images.reshape(-1, coils, y, x)
    images = images / images.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(images.real.dtype).tiny)
    averaged = images.new_empty(len(images), y, x, coils, coils)
    for coil in range(coils):  # all pairs of coils at once would take twice the memory
        averaged[..., coil, :] = _window_mean(images[:, coil, None] * images.conj(), window).movedim(1, -1)
    maps, _ = eigenmaps(averaged, averaged.mean((1, 2)))
    return maps[:, 0].reshape(*batch, coils, y, x)


def _window_mean(array: Tensor, window: int) -> Tensor:
    """Mean over a sliding square window of ``(batch, channels, y, x)``, periodic as the DFT is."""
    before, after = window // 2, (window - 1) // 2
    padded = pad(
        torch.view_as_real(array).movedim(-1, 1).flatten(1, 2), (before, after, before, after), mode="circular"
    )
    mean = avg_pool2d(avg_pool2d(padded, (window, 1), stride=1), (1, window), stride=1)
    return torch.complex(*mean.unflatten(1, (2, -1)).unbind(1))
