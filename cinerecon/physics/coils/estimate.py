"""Coil maps of a fully sampled or undersampled cine from its own data; smooth maps are splines.

Coil sensitivities are quasi-static magnetic fields and vary slowly in space, independent of the object. With the model
I_ct = S_c m_t and S_c = sum_k a_ck B_k, the maps are smooth factors of the coil images I that are the same in all
frames t,

    min_(a, m)  sum_ctq |I_ctq - S_cq m_tq|^2  +  w |m|^2_mean ||D a||^2,

with tensor products of cubic B-splines B_k on a coarse grid of knots and second differences D of the coefficients
(P-splines: Eilers, Marx 1996, doi:10.1214/ss/1038425655). Alternating between m and a, as in the joint estimation of
image and sensitivities (Ying, Sheng 2007, doi:10.1002/mrm.21245), converges in a few steps. The frames t are averages
over temporal windows, after the phase of each frame has been removed. The average over the whole cine alone is not
sufficient: if the phase changes between frames, its lines are inconsistent, and the maps are wrong.

Advantages over local methods: maps need not be periodic, so that tissue at the edge of the field of view (always
present after removal of readout oversampling) causes no errors; noise and the incoherent aliasing of motion are
averaged over hundreds of pixels; and maps are extrapolated smoothly to pixels without signal.

Departs from the papers in: splines instead of global polynomials; both factors are in image space; after each step the
maps are scaled to unit norm.
"""

from functools import lru_cache
from typing import get_args

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.errors import ConfigError
from cinerecon.options import CsmMethod
from cinerecon.physics.coils.espirit import espirit
from cinerecon.physics.coils.walsh import walsh
from cinerecon.physics.fourier import ifft2c, keep_centre, phasor
from cinerecon.physics.sampling import calibration_size
from cinerecon.physics.views import frame_phases, time_average, windowed_averages

MIN_SPLINE_SIZE = 3
"""Smallest calibration region (lines, columns) for a fit of splines; `walsh` is used for smaller regions."""

N_WINDOWS, WINDOW_WIDTH = 6, 0.2
"""Number of temporal windows to whose averages splines are fitted, and their width relative to the cine."""

MAX_SPLINE_SIZE = 128
"""Largest matrix to which splines are fitted; a larger matrix would not improve them."""

N_INTERVALS = 12
"""Intervals between the knots of splines along each axis."""

SMOOTHNESS = 0.03
"""Weight of the second differences of the spline coefficients, per mean energy of the pixels in an interval."""

N_ALTERNATIONS = 4
"""Number of alternations between the image and the maps."""

PREVIOUS_MAPS_WEIGHT = 1e-6
"""Small weight of the previous map at pixels without signal, so that the solution is defined for an empty image."""


def smooth_maps(coil_images: Tensor, csm: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Coil maps as splines that explain the coil images, starting from a first estimate.

    Parameters
    ----------
    coil_images
        ``(*batch, frames, coils, n_y, n_x)`` complex, of the whole field of view at any resolution finer than the
        knots, with pixels that divide it evenly, as returned by `resample_field_of_view`. The maps are common to all
        frames, whose phase may differ.
    csm
        ``(*batch, coils, n_y, n_x)`` the first estimate, e.g. by `walsh`; its phase must be smooth.
    matrix
        Size (y, x) of the returned maps.

    Returns
    -------
    ``(*batch, coils, y, x)``, sum of squared magnitudes 1 at every pixel.
    """
    batch, shape = coil_images.shape[:-4], coil_images.shape[-3:]
    images, maps = coil_images.reshape(-1, *coil_images.shape[-4:]), csm.reshape(-1, *shape).to(torch.complex128)
    energy = images.abs().square().sum(2).mean((1, 2, 3), keepdim=True)
    images = images / energy.sqrt().clamp_min(1e-30)[..., None]
    along_y, along_x = (cubic_splines(n, N_INTERVALS).to(images.device) for n in shape[1:])
    penalty = second_difference_penalty(N_INTERVALS + 3).to(along_y) * SMOOTHNESS
    penalty *= shape[1] * shape[2] / N_INTERVALS**2
    products = tuple(b[:, :, None] * b[:, None, :] for b in (along_y, along_x))
    for _ in range(N_ALTERNATIONS):
        weight, target = _correlate(images, maps)
        weight, target = weight + PREVIOUS_MAPS_WEIGHT, target + PREVIOUS_MAPS_WEIGHT * maps
        projected = along_y.T.to(target) @ target @ along_x.to(target)  # sum_q B_k(q) target_q
        coefficients = _solve(_spline_gram(weight, *products) + penalty, projected)
        maps = _evaluate(coefficients, along_y, along_x)
    fine_y, fine_x = (cubic_splines(n, N_INTERVALS).to(images.device) for n in matrix)
    return _evaluate(coefficients, fine_y, fine_x).to(coil_images.dtype).reshape(*batch, shape[0], *matrix)


def _correlate(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the frames of |m|^2 and of conj(m) I, with the image m = S^H I of each frame."""
    weight, target = torch.zeros_like(maps[:, 0].real), torch.zeros_like(maps)
    for frame in images.unbind(1):
        image = (maps.conj() * frame).sum(1)
        weight += image.abs().square()
        target += image.conj()[:, None] * frame
    return weight / images.shape[1], target / images.shape[1]


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def cubic_splines(n: int, n_intervals: int) -> Tensor:
    """Uniform cubic B-splines at n pixels that divide the field of view, ``(n, n_intervals + 3)`` float64.

    Both the knots and the borders of the pixels divide the field of view evenly; pixel centres are at (i + 1/2) / n.
    """
    position = (torch.arange(n, dtype=torch.float64) + 0.5) / n * n_intervals
    distance = (position[:, None] - torch.arange(-1, n_intervals + 2, dtype=torch.float64)).abs()
    inner, outer = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp_min(0) ** 3 / 6
    return torch.where(distance < 1, inner, outer)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def second_difference_penalty(n: int) -> Tensor:
    """D^T D of the second differences along both axes of an n x n grid of coefficients, ``(n^2, n^2)`` float64."""
    eye = torch.eye(n, dtype=torch.float64)
    difference = eye.diff(n=2, dim=0)
    squared = difference.T @ difference
    return torch.kron(squared, eye) + torch.kron(eye, squared)


def _evaluate(coefficients: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
    """The maps at all pixels, scaled to unit norm, ``(batch, coils, y, x)``."""
    maps = along_y.to(coefficients) @ coefficients @ along_x.T.to(coefficients)
    result: Tensor = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True).clamp_min(1e-12)
    return result


def _spline_gram(weight: Tensor, products_y: Tensor, products_x: Tensor) -> Tensor:
    """sum_q weight_q B_k(q) B_l(q), ``(batch, k, l)``, axis by axis, since products of splines are separable.

    The products of the splines along each axis are ``(n, k, l)``.
    """
    n_y, n_x = products_y.shape[1], products_x.shape[1]
    gram = products_y.flatten(1).T @ weight @ products_x.flatten(1)
    return gram.reshape(-1, n_y, n_y, n_x, n_x).transpose(2, 3).reshape(-1, n_y * n_x, n_y * n_x)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve a real positive definite system for complex right-hand sides ``(batch, coils, n_y, n_x)``."""
    factor = torch.linalg.cholesky(matrix)
    columns = torch.cat([right.real, right.imag], dim=1).flatten(2).mT
    real, imag = torch.cholesky_solve(columns, factor).mT.reshape(-1, 2, *right.shape[1:]).unbind(1)
    return torch.complex(real, imag)


def estimate_csm(kspace: Tensor, mask: Tensor, method: CsmMethod = "smooth") -> Tensor | None:
    """Coil sensitivity maps of a cine.

    The phase of each frame is removed first. ``smooth`` starts from the adaptive combination of the low-resolution time
    average and fits splines to averages over parts of the cine. It is the most accurate method, especially if there is
    tissue at the edge of the field of view (measured by `benchmarks/coils.py`), and if the phase changes over the cine.
    ``espirit`` and ``walsh`` are the standard methods, applied to the calibration region of the time average. If this
    region has only one or two lines, ``walsh`` replaces ``smooth``.

    All maps have unit norm at every pixel, including pixels without signal, so that no part of an image is lost by a
    wrong estimate of the support, and the combination S^H I of white noise is white noise of the same variance.

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
    n_y, n_x = calibration_size(mask, matrix[1])
    phases = frame_phases(kspace, mask)
    average = torch.cat([time_average(coil / phases, mask) for coil in kspace.split(1, -3)], -3)
    if method == "espirit":
        return espirit(average, n_acs=min(n_y, n_x, 32), threshold=1e-4, crop=0)
    if method == "walsh" or min(n_y, n_x) < MIN_SPLINE_SIZE:
        return walsh(ifft2c(keep_centre(average, (n_y, n_x))))
    size = min(n_y, MAX_SPLINE_SIZE), min(n_x, MAX_SPLINE_SIZE)
    coils = (windowed_averages(coil / phases, mask, N_WINDOWS, WINDOW_WIDTH) for coil in kspace.split(1, -3))
    frames = torch.cat([resample_field_of_view(coil, *size) for coil in coils], -3)
    return smooth_maps(frames, walsh(resample_field_of_view(average, *size)), matrix)


def resample_field_of_view(kspace: Tensor, n_y: int, n_x: int) -> Tensor:
    """Image from the centre of k-space whose pixels divide the field of view of the full matrix evenly.

    The inverse DFT of n samples puts pixel n // 2 at the position of pixel N // 2 of the full matrix. For n < N, the
    outermost pixel then extends beyond the field of view and contains signal from the opposite side. Here all pixels
    are shifted by a fraction of their size, by a linear phase in k-space, such that the borders of the first pixel and
    of pixel 0 of the full matrix coincide.

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
    return phasor(2 * torch.pi * (first_border_full - first_border) * frequency)
