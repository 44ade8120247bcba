"""How far an image is from the truth: MSE, NMSE, PSNR and SSIM.

Every measure is ``measure(image, reference)``: first what is judged, then the truth that normalises it. Both are
``(..., y, x)``, usually ``(frames, y, x)``, and are measured as they are: complex inputs by their complex error,
magnitudes by theirs. Sums run over the whole volume in double precision.
"""

import math

import torch
from torch import Tensor

from cinerecon.errors import ShapeError

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def mse(image: Tensor, reference: Tensor) -> float:
    """Mean squared error, the mean of |image - reference|^2 over all pixels of all frames.

    Parameters
    ----------
    image
        ``(..., y, x)`` real or complex, what is judged.
    reference
        ``(..., y, x)`` the truth.

    Raises
    ------
    ShapeError
        If the sizes differ, or only one of the two is complex.
    """
    _require_alike(image, reference)
    return float((image - reference).abs().double().square().mean())


def nmse(image: Tensor, reference: Tensor) -> float:
    """Normalised mean squared error, ||image - reference||^2 / ||reference||^2. Parameters as in `mse`."""
    error, power = mse(image, reference), float(reference.abs().double().square().mean())
    if power == 0:
        return math.inf if error else 0.0
    return error / power


def psnr(image: Tensor, reference: Tensor, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio over the whole volume [dB], 10 log10(data_range^2 / MSE).

    Parameters
    ----------
    image, reference
        As in `mse`.
    data_range
        The peak; None means max |reference|.
    """
    peak = float(reference.abs().max()) if data_range is None else data_range
    error = mse(image, reference)
    if error == 0:
        return math.inf
    return 20 * math.log10(peak) - 10 * math.log10(error) if peak > 0 else -math.inf


def ssim(image: Tensor, reference: Tensor, data_range: float | None = None) -> float:
    """Structural similarity, the mean over valid windows of all frames, each frame a 2-D image.

    Magnitudes are compared under an 11x11 Gaussian window of sigma 1.5 with K1 = 0.01, K2 = 0.03 and population
    statistics, as Wang et al. did; this is what ``tf.image.ssim`` computes, and scikit-image with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    Parameters
    ----------
    image, reference
        As in `mse`; at least 11 pixels along y and x.
    data_range
        Range of the pixel values; None means max |reference|. Published programs often fix it to 1.

    Raises
    ------
    ShapeError
        If the sizes differ, or a frame is smaller than the window.

    References
    ----------
    Wang et al., Image quality assessment: from error visibility to structural similarity (2004),
    DOI 10.1109/TIP.2003.819861
    """
    _require_alike(image, reference)
    if min(reference.shape[-2:]) < SSIM_WINDOW:
        size = " x ".join(map(str, reference.shape[-2:]))
        raise ShapeError(f"SSIM needs frames of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, found {size}")
    peak = float(reference.abs().max()) if data_range is None else data_range
    c1, c2 = (SSIM_K1 * peak) ** 2, (SSIM_K2 * peak) ** 2
    a, b = image.abs().double(), reference.abs().double()
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    covariance = _window_mean(a * b) - mean_a * mean_b
    variances = _window_mean(a * a + b * b) - mean_a.square() - mean_b.square()
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def compare(image: Tensor, reference: Tensor, *, magnitude: bool = True) -> dict[str, float]:
    """The measures that a reconstruction is summarised by: ``psnr`` [dB], ``ssim`` and ``nmse``.

    Parameters
    ----------
    image, reference
        As in `mse`.
    magnitude
        Measure PSNR and NMSE on magnitudes. With several coils the phase of an image depends on the choice of the coil
        maps, so only magnitudes can be compared; with one coil the complex error is the stricter measure.
    """
    if magnitude:
        image, reference = image.abs(), reference.abs()
    return {
        "psnr": psnr(image, reference),
        "ssim": ssim(image, reference),
        "nmse": nmse(image, reference),
    }


def _window_mean(frames: Tensor) -> Tensor:
    """Gaussian-weighted mean over each valid window, ``(..., y, x)`` to ``(..., y - 10, x - 10)``.

    Two products with a banded matrix: in double precision they are many times faster than a convolution.
    """
    y, x = (_window_matrix(n, frames.device) for n in frames.shape[-2:])
    return y @ frames @ x.mT


def _window_matrix(n: int, device: torch.device) -> Tensor:
    """One Gaussian window per row, ``(n - 10, n)``."""
    offset = torch.arange(n, device=device) - torch.arange(n - SSIM_WINDOW + 1, device=device)[:, None]
    weights = torch.exp(-0.5 * ((offset.double() - SSIM_WINDOW // 2) / SSIM_SIGMA).square())
    weights = weights * ((offset >= 0) & (offset < SSIM_WINDOW))
    return weights / weights.sum(-1, keepdim=True)


def _require_alike(image: Tensor, reference: Tensor) -> None:
    if image.shape != reference.shape:
        raise ShapeError(f"image has sizes {tuple(image.shape)}, the reference {tuple(reference.shape)}")
    if image.is_complex() != reference.is_complex():
        raise ShapeError(f"image is {image.dtype}, the reference {reference.dtype}", hint="compare magnitudes")
