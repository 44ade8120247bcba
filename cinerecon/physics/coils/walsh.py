"""Adaptive combination: coil maps from the local correlation between coil images.

Walsh, Gmitro, Marcellin 2000, doi:10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.

Departs from the paper in: the noise is assumed to be white (whitening comes first); the correlation is averaged over a
window around every pixel instead of over blocks with interpolation.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from cinerecon.physics.fourier import phasor_of

NUMBERS_AT_ONCE = 2**20
"""Number of complex numbers in the matrices of pixels that are decomposed together: 8 MB in single precision."""


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
        Side of the window [pixels]. A larger window reduces noise, a smaller one resolves steeper maps. It wraps around
        the edges at most once, so that it is smaller in images of one or two pixels.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1 at every pixel.
    """
    batch, (coils, y, x) = coil_images.shape[:-3], coil_images.shape[-3:]
    images, window = coil_images.reshape(-1, coils, y, x), min(window, 2 * min(y, x) + 1)
    images = images / images.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(images.real.dtype).tiny)
    around = (0, 0, window // 2, (window - 1) // 2)  # periodic, like the DFT
    padded = torch.complex(*(pad(part, around, mode="circular") for part in (images.real, images.imag)))

    def correlation(rows: slice) -> Tensor:
        part = padded[..., rows.start : rows.stop + window - 1, :]
        averaged = images.new_empty(len(images), rows.stop - rows.start, x, coils, coils)
        for coil in range(coils):  # all pairs of coils together would need twice the memory
            averaged[..., coil, :] = _window_mean(part[:, coil, None] * part.conj(), window).movedim(1, -1)
        return averaged

    reference = torch.einsum("bcyx,bdyx->bcd", images, images.conj()) / (y * x)
    maps, _ = eigenmaps(correlation, reference, (y, x))
    return maps[:, 0].reshape(*batch, coils, y, x)


def _window_mean(array: Tensor, window: int) -> Tensor:
    """Mean over a sliding square window of ``(batch, channels, y + window - 1, x)``, periodic along x."""
    padded = pad(
        torch.view_as_real(array).movedim(-1, 1).flatten(1, 2), (window // 2, (window - 1) // 2, 0, 0), mode="circular"
    )
    mean = avg_pool2d(avg_pool2d(padded, (window, 1), stride=1), (1, window), stride=1)
    return torch.complex(*mean.unflatten(1, (2, -1)).unbind(1))


def eigenmaps(
    correlation: Callable[[slice], Tensor], reference: Tensor, matrix: tuple[int, int], n_maps: int = 1
) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the largest eigenvalues, pixel by pixel, a few rows of pixels at a time.

    The phase of an eigenvector is arbitrary. Here it is chosen such that the inner product with a fixed combination of
    coils, the eigenvector of `reference` with the largest eigenvalue, is real and positive; the phase is then smooth
    wherever this combination has signal.

    Parameters
    ----------
    correlation
        Computes ``(batch, rows, x, coils, coils)``, Hermitian, for a range of rows.
    reference
        ``(batch, coils, coils)`` Hermitian correlation of the coils over all pixels.
    matrix
        Size (y, x).
    n_maps
        Number of eigenvectors, strongest first.

    Returns
    -------
    Maps ``(batch, n_maps, coils, y, x)`` of unit norm, and eigenvalues ``(batch, n_maps, y, x)``.
    """
    (n_batch, coils, _), (y, x) = reference.shape, matrix
    maps = reference.new_empty(n_batch, n_maps, coils, y, x)
    values = reference.real.new_empty(n_batch, n_maps, y, x)
    combination = torch.linalg.eigh(reference)[1][:, None, None, :, -1:]
    n_rows = rows_at_once(n_batch * x * coils**2)
    for start in range(0, y, n_rows):
        rows = slice(start, min(start + n_rows, y))
        all_values, all_vectors = torch.linalg.eigh(correlation(rows))
        vectors = all_vectors[..., -n_maps:].flip(-1)
        product = combination.mH @ vectors
        vectors = vectors * phasor_of(product).conj()
        maps[..., rows, :] = vectors.permute(0, 4, 3, 1, 2)
        values[..., rows, :] = all_values[..., -n_maps:].flip(-1).permute(0, 3, 1, 2)
    return maps, values


def rows_at_once(numbers_per_row: int) -> int:
    """Number of rows of pixels whose matrices are in memory together."""
    return max(1, NUMBERS_AT_ONCE // numbers_per_row)
