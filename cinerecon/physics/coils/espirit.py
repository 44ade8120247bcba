"""ESPIRiT: coil maps as eigenvectors of the projection onto the subspace of calibration data.

Uecker et al. 2014, doi:10.1002/mrm.24751. All k-by-k patches of the calibration k-space span a small subspace; P is the
projection onto it. Patches of a point object at position q are c(q) exp(-2 pi i j q), so that the coil maps c(q) are
the eigenvectors with eigenvalue 1 of the coils x coils matrices

    G(q)_cd = k^-2 sum_ij exp(2 pi i (i - j) q) P_(ci)(dj).

Departs from the paper in: G(q) depends on P only through the sums over patch positions with equal i - j, a small array
of (2k - 1)^2 coefficients for each pair of coils. It is transformed by two small matrix products, without zero-padding
kernels to the size of the image. The subspace is computed from the Gram matrix of the patches instead of their SVD.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.errors import DataError
from cinerecon.physics.coils.walsh import eigenmaps
from cinerecon.physics.fourier import phasor


def espirit(
    kspace: Tensor, *, n_acs: int = 24, kernel_size: int = 6, threshold: float = 1e-3, crop: float = 0.8
) -> Tensor:
    """Coil sensitivity maps, one set.

    Parameters
    ----------
    kspace
        ``(*batch, coils, ky, kx)``; only its central part is used.
    n_acs
        Side of the fully sampled central part; limited to the size of k-space.
    kernel_size
        Side k of the patches.
    threshold
        The subspace is spanned by the eigenvectors of the Gram matrix of the patches whose eigenvalue exceeds this
        fraction of the largest one (eigenvalues of the Gram matrix are squared singular values of the patches; same
        meaning as ``-t`` in BART).
    crop
        Eigenvalue below which maps are set to zero; 0 disables this.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1 inside the support and 0 outside.

    Raises
    ------
    DataError
        If the calibration region is smaller than a patch.
    """
    maps, values = espirit_eigenmaps(kspace, n_acs=n_acs, kernel_size=kernel_size, threshold=threshold)
    return (maps * (values >= crop).unsqueeze(-3)).squeeze(-4)


def espirit_eigenmaps(
    kspace: Tensor, *, n_acs: int = 24, kernel_size: int = 6, threshold: float = 1e-3, n_maps: int = 1
) -> tuple[Tensor, Tensor]:
    """Uncropped maps and their eigenvalues, for any number of sets; parameters as in `espirit`.

    A second set represents signal that one set of maps cannot explain: aliasing if the field of view is smaller than
    the body, or a different displacement of water and fat.

    Returns
    -------
    Maps ``(*batch, n_maps, coils, y, x)`` of unit norm and eigenvalues ``(*batch, n_maps, y, x)``, 1 where the patches
    agree perfectly with the map.
    """
    batch, (coils, y, x) = kspace.shape[:-3], kspace.shape[-3:]
    acs = centre_crop(kspace.reshape(-1, coils, y, x), (n_acs, n_acs))
    gram, reference = patch_gram(acs, kernel_size), torch.einsum("bcyx,bdyx->bcd", acs, acs.conj())
    matrices = pixel_matrices(signal_projection(gram, threshold), coils, (y, x))
    maps, values = eigenmaps(matrices, reference, (y, x), n_maps)
    return maps.reshape(*batch, *maps.shape[1:]), values.reshape(*batch, *values.shape[1:])


def patch_gram(acs: Tensor, kernel_size: int) -> Tensor:
    """Gram matrix of all patches of a region, the mean of s s^H.

    Parameters
    ----------
    acs
        ``(batch, coils, ky, kx)``.
    kernel_size
        Side k of a patch.

    Returns
    -------
    ``(batch, n, n)`` with n = coils k^2, in the order (coils, ky, kx).

    Raises
    ------
    DataError
        If the region is smaller than a patch.
    """
    if min(acs.shape[-2:]) < kernel_size:
        sizes = " x ".join(map(str, acs.shape[-2:]))
        raise DataError(
            f"the calibration region is {sizes}, smaller than the {kernel_size} x {kernel_size} kernel",
            hint="sample more central lines, or use a smaller kernel",
        )
    patches = acs.unfold(-2, kernel_size, 1).unfold(-2, kernel_size, 1)  # (batch, coils, n_y, n_x, k, k)
    patches = patches.permute(0, 1, 4, 5, 2, 3).flatten(4).flatten(1, 3)
    return patches @ patches.mH / patches.shape[-1]


def signal_projection(gram: Tensor, threshold: float) -> Tensor:
    """Projection ``(batch, n, n)`` onto the eigenvectors with eigenvalues above a fraction of the largest one."""
    values, vectors = torch.linalg.eigh(gram)
    signal = vectors * (values > threshold * values[:, -1:])[:, None]
    projector: Tensor = signal @ signal.mH
    return projector


def pixel_matrices(projection: Tensor, coils: int, matrix: tuple[int, int]) -> Callable[[slice], Tensor]:
    """The matrices G(q) ``(batch, rows, x, coils, coils)`` by rows, from ``(batch, coils k^2, coils k^2)``."""
    k = round((projection.shape[-1] / coils) ** 0.5)
    pairs = projection.reshape(-1, coils, k * k, coils, k * k).permute(0, 2, 4, 1, 3).reshape(-1, k**4, coils**2)
    by_shift = pairs.new_zeros(pairs.shape[0], (2 * k - 1) ** 2, coils**2)
    by_shift.index_add_(1, _shifts(k, projection.device), pairs / k**2)
    along_y, along_x = (_shift_phases(k, n, projection) for n in matrix)
    by_shift = by_shift.reshape(-1, 2 * k - 1, (2 * k - 1) * coils**2)

    def of_rows(rows: slice) -> Tensor:
        lines = along_y[rows] @ by_shift
        pixels = along_x @ lines.reshape(len(lines), -1, 2 * k - 1, coils**2)
        matrices: Tensor = pixels.unflatten(-1, (coils, coils))
        return matrices

    return of_rows


def _shifts(k: int, device: torch.device) -> Tensor:
    """For each pair of patch positions (i, j), ``(k^4,)``, the index of i - j among the (2k - 1)^2 shifts."""
    y, x = (axis.ravel() for axis in torch.meshgrid(torch.arange(k), torch.arange(k), indexing="ij"))
    dy, dx = y[:, None] - y + k - 1, x[:, None] - x + k - 1
    return (dy * (2 * k - 1) + dx).ravel().to(device)


def _shift_phases(k: int, n: int, like: Tensor) -> Tensor:
    """The factors exp(2 pi i d (q - n // 2) / n), ``(n, 2k - 1)`` over pixels q and shifts d."""
    pixel, shift = torch.arange(n, dtype=torch.float64) - n // 2, torch.arange(1 - k, k, dtype=torch.float64)
    return phasor(2 * torch.pi * pixel[:, None] * shift / n).to(like)
