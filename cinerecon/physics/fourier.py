"""The centred orthonormal 2-D DFT, implemented without shifts.

F x [k] = N^(-1/2) sum_n x[n] exp(-2 pi i (k - c)(n - c) / N), c = N // 2, along each of the last two axes.
Expanding the exponent yields a plain FFT between two diagonal factors (+-1 for even N, a phase ramp for odd N): F = K .
fft2 . I. A shift moves the whole array in memory, whereas a factor can be combined with another multiplication, such as
that by coil maps.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.axes import centre_crop, centre_slice, mirrored_indices


def phasor(angle: Tensor) -> Tensor:
    """The numbers exp(i angle) of angles [rad]."""
    return torch.polar(torch.ones_like(angle), angle)


def phasor_of(values: Tensor) -> Tensor:
    """Complex values over their magnitude; 1 where they are 0."""
    return torch.where(values == 0, 1, torch.sgn(values))


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the cached factors may be needed by a gradient later
def _ramps(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The image-side and the k-space-side factor of a centred DFT of length n, each ``(n,)``."""
    centre = n // 2
    index = torch.arange(n, dtype=torch.float64)
    image_side = phasor(2 * torch.pi * (index * centre % n) / n)
    kspace_side = image_side * image_side[centre].conj()
    if n % 2 == 0:
        real = dtype.to_real()
        return image_side.real.round().to(device, real), kspace_side.real.round().to(device, real)
    dtype = dtype.to_complex()
    return image_side.to(device, dtype), kspace_side.to(device, dtype)


def image_factor(shape: tuple[int, int], like: Tensor) -> Tensor:
    """The diagonal factor I before the FFT, ``(y, x)``; its inverse, the conjugate, comes after the inverse FFT."""
    y, x = (_ramps(n, like.dtype, like.device)[0] for n in shape)
    return y[:, None] * x


def kspace_factor(shape: tuple[int, int], like: Tensor) -> Tensor:
    """The diagonal factor K after the FFT, ``(ky, kx)``; its conjugate comes before the inverse FFT."""
    y, x = (_ramps(n, like.dtype, like.device)[1] for n in shape)
    return y[:, None] * x


def fft2c(image: Tensor) -> Tensor:
    """Image to k-space over the last two axes, ``(..., y, x)`` to ``(..., ky, kx)``, zero frequency at index n // 2."""
    shape = (image.shape[-2], image.shape[-1])
    kspace: Tensor = torch.fft.fft2(image * image_factor(shape, image), norm="ortho") * kspace_factor(shape, image)
    return kspace


def ifft2c(kspace: Tensor) -> Tensor:
    """K-space to image over the last two axes, ``(..., ky, kx)`` to ``(..., y, x)``; inverse and adjoint of `fft2c`."""
    shape = (kspace.shape[-2], kspace.shape[-1])
    before = kspace_factor(shape, kspace).conj()
    result: Tensor = torch.fft.ifft2(kspace * before, norm="ortho") * image_factor(shape, kspace).conj()
    return result


def fft1c(signal: Tensor, dim: int) -> Tensor:
    """Centred orthonormal DFT along one axis."""
    return _one_axis(signal, dim, inverse=False)


def ifft1c(signal: Tensor, dim: int) -> Tensor:
    """Inverse (and adjoint) of `fft1c`."""
    return _one_axis(signal, dim, inverse=True)


def crop_sampled(sampled: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """The points of an axis that are regarded as sampled after the image is cropped to n pixels along this axis.

    Parameters
    ----------
    sampled
        ``(points,)`` of the encoded axis.
    n
        Number of points of the cropped axis.
    """
    if n == len(sampled) or sampled.all():
        return np.full(n, True) if sampled.all() else sampled
    step = len(sampled) / n
    centre = len(sampled) // 2 + (np.arange(n) - n // 2) * step
    first = np.clip(np.ceil(centre - step - 1e-6).astype(int), 0, None)
    last = np.clip(np.floor(centre + step + 1e-6).astype(int), None, len(sampled) - 1)
    holes = np.concatenate([[0], np.cumsum(~sampled)])
    is_complete: NDArray[np.bool_] = holes[last + 1] == holes[first]
    return is_complete


def keep_centre(kspace: Tensor, sizes: tuple[int, int]) -> Tensor:
    """K-space ``(..., ky, kx)`` with zeros outside its central part of the given sizes."""
    central = torch.zeros_like(kspace)
    centre_crop(central, sizes).copy_(centre_crop(kspace, sizes))
    return central


def mirror(array: Tensor, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """An array mirrored about the centre n // 2 of some axes, by default the last two."""
    for dim in dims:
        array = array.index_select(dim, torch.from_numpy(mirrored_indices(array.shape[dim])).to(array.device))
    return array


def crop_kspace(kspace: Tensor, n: int, dim: int, *, mirrored: bool = False) -> Tensor:
    """K-space of the central n pixels along one axis, optionally mirrored first; the centre is preserved.

    Mirrored samples use the same transform as others. The forward transform would be equivalent in exact arithmetic,
    but has different rounding errors, which iterative methods amplify.
    """
    length = kspace.shape[dim]
    if mirrored:
        kspace = mirror(kspace, (dim,))
    if n == length:
        return kspace
    image = ifft1c(kspace, dim)
    return fft1c(image.narrow(dim, centre_slice(length, n).start, n), dim)


def crop_frames(kspace: Tensor, n: int, dim: int) -> Tensor:
    """`crop_kspace` of ``(frames, coils, ky, kx)`` along one axis, frame by frame to limit temporary arrays."""
    if kspace.shape[dim] == n:
        return kspace
    shape = list(kspace.shape)
    shape[dim] = n
    cropped = kspace.new_empty(shape)
    for target, frame in zip(cropped, kspace, strict=True):
        target.copy_(crop_kspace(frame, n, dim))
    return cropped


def _one_axis(signal: Tensor, dim: int, inverse: bool) -> Tensor:
    dim = dim % signal.ndim
    n = signal.shape[dim]
    shape = (n,) + (1,) * (signal.ndim - dim - 1)
    before, after = (ramp.reshape(shape) for ramp in _ramps(n, signal.dtype, signal.device))
    if inverse:
        image: Tensor = torch.fft.ifft(signal * after.conj(), dim=dim, norm="ortho") * before.conj()
        return image
    spectrum: Tensor = torch.fft.fft(signal * before, dim=dim, norm="ortho") * after
    return spectrum
