"""Noise prewhitening: after it all coils carry independent noise of unit variance, as least squares assumes.

Roemer et al. 1990, doi:10.1002/mrm.1910160203.
"""

import torch
from torch import Tensor

from cinerecon.errors import DataError


def noise_covariance(noise: Tensor) -> Tensor:
    """Covariance of the noise between coils, E[n n^H].

    Noise has zero mean, and the reader of the file corrects its scale (dwell time, receiver bandwidth): the samples
    are used without changes.

    Parameters
    ----------
    noise
        ``(coils, samples)`` complex samples without signal.

    Returns
    -------
    ``(coils, coils)`` Hermitian.
    """
    return noise @ noise.mH / noise.shape[-1]


def whitening_matrix(covariance: Tensor) -> Tensor:
    """The matrix W with W covariance W^H = 1: the inverse of the lower Cholesky factor, so lower triangular.

    Parameters
    ----------
    covariance
        ``(..., coils, coils)`` Hermitian.

    Raises
    ------
    DataError
        If the covariance is singular: a coil without noise, or fewer noise samples than coils.
    """
    variance = covariance.diagonal(dim1=-2, dim2=-1).real
    scale = variance.clamp_min(torch.finfo(variance.dtype).tiny).rsqrt()  # coils may differ by orders of magnitude
    correlation = scale[..., :, None] * covariance * scale[..., None, :]
    values = torch.linalg.eigvalsh(correlation)
    if bool((values[..., 0] <= 10 * torch.finfo(values.dtype).eps * values[..., -1]).any()):
        dead = (variance <= 0).nonzero()[:, -1].tolist()
        what = f"coil {dead[0]} carries no noise" if dead else "the noise covariance is singular"
        raise DataError(what, hint="use a longer noise scan, leave the coil out, or reconstruct without whitening")
    factor = torch.linalg.cholesky(correlation)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(*factor.shape[-2:]).to(factor), upper=False)
    result: Tensor = inverse * scale[..., None, :]
    return result


def apply_coil_matrix(matrix: Tensor, data: Tensor, dim: int) -> Tensor:
    """Mix coils: multiply the coil axis of an array by a matrix.

    Parameters
    ----------
    matrix
        ``(n_out, coils)``, e.g. for whitening or compression.
    data
        Any array with a coil axis.
    dim
        The coil axis.
    """
    mixed: Tensor = torch.tensordot(matrix.to(data), data, dims=([1], [dim])).movedim(0, dim)
    return mixed
