"""From one coil correlation matrix per pixel to coil maps: eigenvectors whose phases fit together."""

import torch
from torch import Tensor


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
        How many eigenvectors, strongest first.

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
