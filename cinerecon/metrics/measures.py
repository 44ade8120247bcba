"""Measures of image quality against a reference: MSE, NMSE, PSNR, SSIM and HFEN.

Every measure is called as ``measure(image, reference)``. Both are NumPy or PyTorch arrays ``(..., y, x)``, usually
``(frames, y, x)``. The error of complex inputs is complex; integers are converted to real numbers. Sums are over the
whole volume in double precision.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.cine import as_tensor
from cinerecon.errors import ShapeError

Array = Tensor | NDArray[Any]

SSIM_K1, SSIM_K2 = 0.01, 0.03
HFEN_SIZE, HFEN_SIGMA = 15, 1.5
HFEN_ROUNDING = 1e-12
"""Norm of the filtered images relative to that of the images, below which it is due to rounding."""
PIXELS_AT_ONCE = 2**18
"""Pixels of the frames whose SSIM is computed together, which requires 22 times the memory of their complex images."""


@dataclass(frozen=True)
class Window:
    """The window of local means in SSIM.

    Attributes
    ----------
    size
        Pixels along y and x.
    sigma
        Standard deviation of a Gaussian window [pixels]; None means a uniform window.
    is_sample
        Whether to use sample variances, which are N / (N - 1) times population variances.
    """

    size: int
    sigma: float | None = None
    is_sample: bool = False

    def weights(self) -> Tensor:
        """Weights along one axis ``(size,)``, with sum 1."""
        offset = torch.arange(self.size, dtype=torch.float64) - self.size // 2
        weights = torch.ones_like(offset) if self.sigma is None else torch.exp(-0.5 * (offset / self.sigma).square())
        return weights / weights.sum()


GAUSSIAN = Window(11, sigma=1.5)
"""Window used by Wang et al. and ``tf.image.ssim``."""
UNIFORM = Window(7, is_sample=True)
"""Default window of scikit-image, which fastMRI and CMRxRecon use."""
SSIM_WINDOW = GAUSSIAN.size


def mse(image: Array, reference: Array) -> float:
    """Mean squared error, the mean of |image - reference|^2 over all pixels of all frames.

    Parameters
    ----------
    image
        ``(..., y, x)`` real or complex.
    reference
        ``(..., y, x)``, the reference.

    Raises
    ------
    ShapeError
        If the sizes differ, or only one of the two is complex.
    """
    image, reference = as_pair(image, reference)
    return float((image - reference).abs().double().square().mean())


def nmse(image: Array, reference: Array) -> float:
    """Normalised mean squared error, ||image - reference||^2 / ||reference||^2; parameters as in `mse`."""
    image, reference = as_pair(image, reference)
    error, power = mse(image, reference), float(reference.abs().double().square().mean())
    if power == 0:
        return math.inf if error else 0.0
    return error / power


def psnr(image: Array, reference: Array, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio over the whole volume [dB], 10 log10(data_range^2 / MSE).

    Parameters
    ----------
    image, reference
        As in `mse`.
    data_range
        The peak; None means max |reference|.
    """
    image, reference = as_pair(image, reference)
    peak = float(reference.abs().max()) if data_range is None else data_range
    error = mse(image, reference)
    if error == 0:
        return math.inf
    return 20 * math.log10(peak) - 10 * math.log10(error) if peak > 0 else -math.inf


def ssim(image: Array, reference: Array, data_range: float | None = None, *, window: Window = GAUSSIAN) -> float:
    """Structural similarity, the mean over valid windows of all frames, each frame a 2-D image.

    Magnitudes are compared with an 11x11 Gaussian window of sigma 1.5 with K1 = 0.01, K2 = 0.03 and population
    statistics, as in Wang et al. The result equals that of ``tf.image.ssim``, and that of scikit-image with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    Parameters
    ----------
    image, reference
        As in `mse`, with at least the size of the window along y and x. Real values may be negative.
    data_range
        Range of the pixel values; None means max |reference|. Published programs often fix it to 1.
    window
        `GAUSSIAN`, or `UNIFORM`, the default of scikit-image.

    Raises
    ------
    ShapeError
        If the sizes differ, or a frame is smaller than the window.

    References
    ----------
    Wang et al., Image quality assessment: from error visibility to structural similarity (2004),
    doi:10.1109/TIP.2003.819861
    """
    image, reference = as_pair(image, reference)
    _require_size("SSIM", reference, window.size)
    peak = float(reference.abs().max()) if data_range is None else data_range
    frames, of_reference = (x.reshape(-1, *x.shape[-2:]) for x in (image, reference))
    n_at_once = max(1, PIXELS_AT_ONCE // frames[:1].numel())
    parts = zip(frames.split(n_at_once), of_reference.split(n_at_once), strict=True)
    return sum(_ssim_of_frames(a, b, peak, window) * len(a) for a, b in parts) / len(frames)


def _ssim_of_frames(image: Tensor, reference: Tensor, peak: float, window: Window) -> float:
    """Mean over the windows of a few frames ``(frames, y, x)``."""
    a, b = (x.abs().double() if x.is_complex() else x.double() for x in (image, reference))
    weights = window.weights()
    moments = _filter(torch.stack((a, b, a * b, a * a + b * b)), weights, weights)
    correction = window.size**2 / (window.size**2 - 1) if window.is_sample else 1.0
    return float(ssim_map(moments, peak, correction).mean())


def ssim_map(moments: Tensor, peak: Tensor | float, correction: float = 1.0) -> Tensor:
    """Structural similarity of each window, differentiable.

    Parameters
    ----------
    moments
        ``(4, ...)``, the means over each window of a, b, a b and a^2 + b^2 of two images a and b.
    peak
        Data range.
    correction
        Factor on variances and covariance: n / (n - 1) for sample statistics of windows of n pixels.
    """
    mean_a, mean_b, product, power = moments
    c1, c2 = (SSIM_K1 * peak) ** 2, (SSIM_K2 * peak) ** 2
    covariance = correction * (product - mean_a * mean_b)
    variances = correction * (power - mean_a.square() - mean_b.square())
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    result: Tensor = luminance * (2 * covariance + c2) / (variances + c2)
    return result


def hfen(image: Array, reference: Array) -> float:
    """High-frequency error norm, ||LoG(image) - LoG(reference)|| / ||LoG(reference)||, over all frames.

    LoG is the rotationally symmetric Laplacian of Gaussian, 15x15 with sigma 1.5 pixels, of the magnitude, for windows
    inside the frame only. HFEN measures errors of edges and fine structure, to which PSNR is insensitive.

    Parameters
    ----------
    image, reference
        As in `mse`, with at least 15 pixels along y and x.

    Raises
    ------
    ShapeError
        If the sizes differ, or a frame is smaller than the filter.

    References
    ----------
    Ravishankar and Bresler, MR image reconstruction from highly undersampled k-space data by dictionary learning
    (2011), doi:10.1109/TMI.2010.2090538
    """
    image, reference = as_pair(image, reference)
    _require_size("HFEN", reference, HFEN_SIZE)
    magnitudes = [x.abs().double() for x in (image, reference)]
    edges = [_laplacian_of_gaussian(x) for x in magnitudes]
    error, power, signal = (
        float(torch.linalg.vector_norm(x)) for x in (edges[0] - edges[1], edges[1], torch.stack(magnitudes))
    )
    if power <= HFEN_ROUNDING * signal:  # a constant reference
        return math.inf if error > HFEN_ROUNDING * signal else 0.0
    return error / power


def compare(image: Array, reference: Array, *, magnitude: bool = True) -> dict[str, float]:
    """Summary of a reconstruction: ``psnr`` [dB], ``ssim`` and ``nmse``.

    Parameters
    ----------
    image, reference
        As in `mse`.
    magnitude
        Whether PSNR and NMSE are computed from magnitudes. With several coils, the phase of an image depends on the
        coil maps, so that only magnitudes can be compared; with one coil, the complex error is the stricter measure.
    """
    image, reference = as_pair(image, reference, magnitude=magnitude)
    return {
        "psnr": psnr(image, reference),
        "ssim": ssim(image, reference),
        "nmse": nmse(image, reference),
    }


def compare_frames(image: Array, reference: Array) -> dict[str, tuple[float, ...]]:
    """``psnr`` [dB], ``ssim`` and ``nmse`` of each frame's magnitude, with the data range of the whole series.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` as in `ssim`.
    """
    image, reference = as_pair(image, reference, magnitude=True)
    peak = float(reference.max())
    pairs = list(zip(image, reference, strict=True))
    return {
        "psnr": tuple(psnr(a, b, peak) for a, b in pairs),
        "ssim": tuple(ssim(a, b, peak) for a, b in pairs),
        "nmse": tuple(nmse(a, b) for a, b in pairs),
    }


def _laplacian_of_gaussian(frames: Tensor) -> Tensor:
    """The sum of second derivatives along y and x, ``(..., y, x)`` to ``(..., y - 14, x - 14)``."""
    offset = torch.arange(HFEN_SIZE, dtype=torch.float64) - HFEN_SIZE // 2
    smooth = Window(HFEN_SIZE, sigma=HFEN_SIGMA).weights()
    second = smooth * (offset.square() / HFEN_SIGMA**4 - 1 / HFEN_SIGMA**2)
    second = second - second.mean()  # removes the response to constant input that is due to truncation
    return _filter(frames, second, smooth) + _filter(frames, smooth, second)


def _filter(frames: Tensor, along_y: Tensor, along_x: Tensor) -> Tensor:
    """Weighted sum over each valid window, ``(..., y, x)`` to ``(..., y - size + 1, x - size + 1)``.

    Two products with a banded matrix are used, which in double precision are much faster than a convolution.
    """
    y, x = (_banded(w, n).to(frames.device) for w, n in zip((along_y, along_x), frames.shape[-2:], strict=True))
    return y @ frames @ x.mT


def _banded(weights: Tensor, n: int) -> Tensor:
    """One window per row, ``(n - size + 1, n)``."""
    offset = torch.arange(n) - torch.arange(n - len(weights) + 1)[:, None]
    inside = (offset >= 0) & (offset < len(weights))
    return torch.where(inside, weights[offset.clamp(0, len(weights) - 1)], 0.0)


def _require_size(name: str, reference: Tensor, size: int) -> None:
    if min(reference.shape[-2:]) < size:
        sizes = " x ".join(map(str, reference.shape[-2:]))
        raise ShapeError(f"{name} needs frames of at least {size} x {size} pixels, found {sizes}")


def as_pair(image: Array, reference: Array, *, magnitude: bool = False) -> tuple[Tensor, Tensor]:
    """Convert two arrays to be compared to floating point tensors, optionally of their magnitudes.

    Raises
    ------
    ShapeError
        If one is not an array of numbers, the sizes differ or are zero, or only one of the two is complex.
    """
    image, reference = as_floating(image, magnitude=magnitude), as_floating(reference, magnitude=magnitude)
    if image.shape != reference.shape:
        raise ShapeError(f"image has the shape {tuple(image.shape)}, the reference {tuple(reference.shape)}")
    if image.ndim < 2 or image.numel() == 0:
        raise ShapeError(f"image has the shape {tuple(image.shape)}, expected at least one pixel along y and x")
    if image.is_complex() != reference.is_complex():
        raise ShapeError(f"image is {image.dtype}, the reference {reference.dtype}", hint="compare magnitudes")
    return image, reference


def as_floating(array: Array, *, magnitude: bool = False) -> Tensor:
    """An array as a tensor in single or double precision; differences of whole numbers would wrap around."""
    tensor = as_tensor(array)
    if tensor.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        tensor = tensor.to(torch.complex64 if tensor.is_complex() else torch.float64)
    return tensor.abs() if magnitude else tensor
