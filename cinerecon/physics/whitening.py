"""Noise prewhitening: after it all coils carry independent noise of unit variance, as least squares assumes.

Roemer et al. 1990, doi:10.1002/mrm.1910160203.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError

Matrix = NDArray[np.complexfloating[Any, Any]]


def noise_covariance(noise: Matrix) -> Matrix:
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
    return np.asarray(noise @ noise.conj().T / noise.shape[-1])


def whitening_matrix(covariance: Matrix) -> Matrix:
    """The matrix W with W covariance W^H = 1: the inverse of the lower Cholesky factor, so lower triangular.

    Parameters
    ----------
    covariance
        ``(coils, coils)`` Hermitian.

    Raises
    ------
    DataError
        If the covariance is singular: a coil without noise, or fewer noise samples than coils.
    """
    variance = covariance.diagonal().real
    scale = 1 / np.sqrt(variance.clip(np.finfo(variance.dtype).tiny))  # coils may differ by orders of magnitude
    correlation = scale[:, None] * covariance * scale
    values = np.linalg.eigvalsh(correlation)
    if values[0] <= 10 * np.finfo(values.dtype).eps * values[-1]:
        silent = np.flatnonzero(variance <= 0)
        what = f"coil {silent[0]} carries no noise" if silent.size else "the noise covariance is singular"
        raise DataError(what, hint="use a longer noise scan, leave the coil out, or reconstruct without whitening")
    return np.asarray(np.tril(np.linalg.inv(np.linalg.cholesky(correlation))) * scale)
