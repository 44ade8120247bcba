"""Adaptive combination: coil maps from the local correlation between coil images.

Walsh, Gmitro, Marcellin 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.

Departs from the paper in: the noise is taken as white (whiten first); the correlation is averaged over a window around
every pixel, and not over blocks that are interpolated.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad


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


def eigenmaps(correlation: Tensor, reference: Tensor, n_maps: int = 1) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the largest eigenvalues, pixel by pixel.

    An eigenvector has no phase of its own. Here it is turned so that its inner product with one fixed combination of
    coils, the strongest eigenvector of `reference`, is real and positive: smooth wherever that combination sees signal.

    Parameters
    ----------
    correlation
        ``(batch, y, x, coils, coils)`` Hermitian.
    reference
        ``(batch, coils, coils)`` Hermitian correlation of the coils over all pixels.
    n_maps
        Number of eigenvectors, strongest first.

    Returns
    -------
    Maps ``(batch, n_maps, coils, y, x)`` of unit norm, and eigenvalues ``(batch, n_maps, y, x)``.
    """
    values, vectors = torch.linalg.eigh(correlation)
    values, vectors = values[..., -n_maps:].flip(-1), vectors[..., -n_maps:].flip(-1)
    combination = torch.linalg.eigh(reference)[1][:, None, None, :, -1:]
    product = combination.mH @ vectors
    vectors = vectors * torch.where(product == 0, 1, torch.sgn(product)).conj()
    return vectors.permute(0, 4, 3, 1, 2), values.permute(0, 3, 1, 2)
