"""Coil maps of a cine, undersampled or not, from its own time average."""

from typing import get_args

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.errors import ConfigError
from cinerecon.options import CsmMethod
from cinerecon.physics.coils.espirit import espirit
from cinerecon.physics.coils.smooth import smooth_maps
from cinerecon.physics.coils.walsh import walsh
from cinerecon.physics.fourier import ifft2c
from cinerecon.physics.sampling import calibration_size

MIN_SPLINE_SIZE = 3
"""Smallest calibration region (lines, columns) for a fit of splines; `walsh` is used for smaller regions."""

MAX_SPLINE_SIZE = 128
"""Largest matrix to which splines are fitted; a larger one would not improve them."""


def time_average(kspace: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that sampled each point, 0 where none did.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    ``(*batch, coils, ky, kx)``
    """
    return kspace.sum(-4) / mask.sum(-4).clamp_min(1)


def estimate_csm(kspace: Tensor, mask: Tensor, method: CsmMethod = "smooth") -> Tensor | None:
    """Coil sensitivity maps of a cine from its time average.

    ``smooth`` starts from the adaptive combination of the low-resolution coil images and fits splines; it is the
    most faithful, above all where the edge of the field of view cuts tissue (`benchmarks/coils.py` measures it).
    ``espirit`` and ``walsh`` are the standard methods on the same calibration region. If that has one or two
    lines, ``walsh`` replaces ``smooth``.

    All maps have unit norm at every pixel, also without signal: no part of an image is lost by a wrong estimate of
    the support, and the combination S^H I of white noise is white noise of the same variance.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    method
        ``smooth``, ``espirit`` or ``walsh``.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1; None for one coil.

    Raises
    ------
    ConfigError
        If the method is unknown.
    DataError
        If the calibration region is too small for ESPIRiT.
    """
    if method not in get_args(CsmMethod):
        raise ConfigError(f"unknown method for coil maps '{method}'", hint=f"known: {', '.join(get_args(CsmMethod))}")
    if kspace.shape[-3] == 1:
        return None
    matrix = (kspace.shape[-2], kspace.shape[-1])
    average, (n_y, n_x) = time_average(kspace, mask), calibration_size(mask, matrix[1])
    if method == "espirit":
        return espirit(average, n_acs=min(n_y, n_x, 32), threshold=1e-4, crop=0)
    if method == "walsh" or min(n_y, n_x) < MIN_SPLINE_SIZE:
        return walsh(ifft2c(_outside_zero(average, n_y, n_x)))
    coil_images = resample_field_of_view(average, min(n_y, MAX_SPLINE_SIZE), min(n_x, MAX_SPLINE_SIZE))
    return smooth_maps(coil_images, walsh(coil_images), matrix)


def resample_field_of_view(kspace: Tensor, n_y: int, n_x: int) -> Tensor:
    """An image from the centre of k-space, whose pixels divide the field of view of the full matrix evenly.

    The inverse DFT of n samples puts pixel n // 2 at the position of pixel N // 2 of the full matrix. For n < N the
    outermost pixel then extends beyond the field of view, and holds signal from the opposite side. Here all pixels are
    shifted by a fraction of their size, as a linear phase of k-space, such that the first one begins where pixel 0 of
    the full matrix begins.

    Parameters
    ----------
    kspace
        ``(..., ky, kx)`` of the full matrix.
    n_y, n_x
        Number of central lines and columns, and of pixels.
    """
    n_full_y, n_full_x = kspace.shape[-2:]
    phase = _shift_phase(n_y, n_full_y)[:, None] * _shift_phase(n_x, n_full_x)
    return ifft2c(centre_crop(kspace, (n_y, n_x)) * phase.to(kspace))


def _shift_phase(n: int, n_full: int) -> Tensor:
    """The linear phase along n samples, complex128, that aligns the borders of n and of n_full pixels."""
    first_border, first_border_full = -(n // 2 + 0.5) / n, -(n_full // 2 + 0.5) / n_full
    frequency = torch.arange(n, dtype=torch.float64) - n // 2
    return torch.polar(torch.ones_like(frequency), 2 * torch.pi * (first_border_full - first_border) * frequency)


def _outside_zero(kspace: Tensor, n_y: int, n_x: int) -> Tensor:
    """K-space with zeros outside its central region of n_y lines and n_x columns."""
    kept = torch.zeros_like(kspace)
    centre_crop(kept, (n_y, n_x)).copy_(centre_crop(kspace, (n_y, n_x)))
    return kept
