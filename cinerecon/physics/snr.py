"""Noise of reconstructed images, and images in units of signal to noise ratio (SNR).

The noise of an image is its standard deviation in the direction of the signal in the complex plane, which equals that
of the magnitude for an SNR above 3; an image divided by its noise is in SNR units (Kellman, McVeigh 2005,
doi:10.1002/mrm.20713). The noise of k-space has the variance E|n|^2 = s^2 for each sample, half of which is in the real
part.

For linear methods there is an analytical formula. With A = mask . F . csm and whole readouts, the columns of the image
are independent problems, and N = A^H A is a matrix ``(y, y)`` for each column. An image q(N) A^H y has the covariance
q(N) A^H D A q(N) with the variances D of the samples; q = 1 / (N + w) is SENSE with Tikhonov weight w, q = 1 zero
filling. The g-factor is the noise divided by that of a fully sampled scan and by the square root of the acceleration
(Pruessmann et al. 1999, doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S).

For any other method, noise of the same statistics is added to data, and the reconstruction is repeated
(pseudo-replicas: Robson et al. 2008, doi:10.1002/mrm.21728).

Departs from the papers in: noise is added to the data A x predicted by the image x instead of the measured data, which
already contain noise; the response of a nonlinear method to twice the noise is different (k-t SLR: noise of 3 % of the
image is overestimated by 6 % instead of 14 %). Since there are few replicas, their variance is averaged over 3 x 3
pixels and, as far as their number requires, over frames; the standard error of the result is estimated from the
differences between replicas. Coil maps are constant, so that their noise is not included.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft1c, phasor_of
from cinerecon.physics.noise import white_noise

SpectralFilter = Callable[[int, Tensor], Tensor]
"""The function q of a frame: maps its number and the eigenvalues of N to factors of the same shape."""

MAX_COLUMN_ELEMENTS = 2**22
"""Number of elements of the matrices of columns that are decomposed together."""
AVERAGED_PIXELS = 3
"""Side of the square over which the variance of replicas is averaged [pixels]."""
SUPPORT_FRACTION = 0.1
"""Mean magnitude of a pixel, relative to the brightness of the image, above which it belongs to the support."""


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """Noise of an image series.

    Attributes
    ----------
    std
        ``(frames, y, x)`` standard deviation of the noise, in the units of the image.
    standard_error
        Relative standard error of `std`, as root mean square over the support; 0 for a formula.
    n_replicas
        Number of pseudo-replicas; 0 for a formula.
    """

    std: Tensor
    standard_error: float = 0.0
    n_replicas: int = 0

    @property
    def source(self) -> str:
        """The origin of the map, as text for readers of the image."""
        if not self.n_replicas:
            return "noise by formula"
        return f"noise from {self.n_replicas} pseudo-replicas, standard error {self.standard_error:.0%}"


def support_of(image: Tensor) -> Tensor:
    """Pixels with signal, ``(y, x)`` bool, of an image series ``(frames, y, x)``."""
    mean = image.abs().mean(0)
    return mean > SUPPORT_FRACTION * torch.quantile(mean.flatten(), 0.995)


def snr_units(image: Tensor, std: Tensor) -> Tensor:
    """The magnitude of an image over its noise, both ``(frames, y, x)``; 0 where both are zero."""
    return image.abs() / std.clamp(min=torch.finfo(std.dtype).tiny) * (std > 0)


def g_factor(std: Tensor, mask: Tensor, noise_std: Tensor) -> Tensor:
    """G-factor: noise over that of a full scan with maps of unit norm and the square root of the acceleration.

    It is at least 1 for least squares; regularisation, and zero filling, which does not unfold aliasing, reduce it.

    Parameters
    ----------
    std
        ``(frames, y, x)`` noise of the image in the units of A^H y.
    mask, noise_std
        ``(frames, 1, ky, kx or 1)`` bool; ``(frames, 1, ky or 1, kx or 1)`` noise of a sample.
    """
    rate = mask.to(std.dtype).mean((-3, -2, -1))
    full = ((mask * noise_std.square()).mean((-3, -2, -1)) / rate / 2).sqrt()
    return std * (rate.sqrt() / full)[:, None, None]


def zerofilled_noise(mask: Tensor, csm: Tensor | None, noise_std: Tensor) -> Tensor:
    """Noise of A^H y, for any sampling.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)`` bool.
    csm
        ``(coils, y, x)``; None for one coil of unit sensitivity.
    noise_std
        ``(frames, 1, ky or 1, kx or 1)`` standard deviation of the complex noise of a sample.

    Returns
    -------
    ``(frames, y, x)``, or ``(frames, 1, 1)`` without maps.
    """
    variance = (mask * noise_std.square()).mean((-3, -2, -1))[:, None, None] / 2
    weight = torch.ones(1, 1) if csm is None else csm.abs().square().sum(0)
    return (variance * weight.to(variance)).sqrt()


def filtered_noise(mask: Tensor, csm: Tensor, noise_std: Tensor, spectral_filter: SpectralFilter) -> Tensor:
    """Noise of q(A^H A) A^H y for sampling of whole readouts.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, 1)`` bool.
    csm
        ``(coils, y, x)``.
    noise_std
        ``(frames, 1, ky or 1, 1)`` standard deviation of the complex noise of a sample.
    spectral_filter
        The function q.

    Returns
    -------
    ``(frames, y, x)``.
    """
    n_y, n_x = csm.shape[-2:]
    fourier = fft1c(torch.eye(n_y, dtype=csm.dtype, device=csm.device), -2)  # (ky, y)
    variance = noise_std[:, 0, :, 0].square().expand(-1, n_y) * mask[:, 0, :, 0]
    result = torch.empty(len(mask), n_y, n_x, device=csm.device)
    alike: dict[bytes, list[int]] = {}
    for frame, lines in enumerate(mask[:, 0, :, 0].cpu().numpy()):
        alike.setdefault(lines.tobytes(), []).append(frame)
    n_columns = max(1, MAX_COLUMN_ELEMENTS // n_y**2)
    for start in range(0, n_x, n_columns):
        columns = slice(start, start + n_columns)
        maps = csm[..., columns].permute(2, 0, 1)  # (columns, coils, y)
        correlation = maps.mH @ maps
        for frames in alike.values():
            normal = correlation * (fourier.mH @ (mask[frames[0], 0] * fourier))
            values, vectors = torch.linalg.eigh(normal)
            values = values.double().clamp(min=0)
            for frame in frames:
                factors = spectral_filter(frame, values)
                measured = variance[frame][mask[frame, 0, :, 0]]
                if bool((measured == measured[:1]).all()):
                    power = (factors.square() * values).to(result) * (measured[0] if len(measured) else 0)
                    voxel = (vectors.abs().square() @ power[..., None])[..., 0]
                else:
                    inner = correlation * (fourier.mH @ (variance[frame][:, None] * fourier))
                    solve = (vectors * factors.to(vectors)[:, None, :]) @ vectors.mH
                    voxel = ((solve @ inner) * solve.conj()).sum(-1).real
                result[frame][:, columns] = (voxel.clamp(min=0) / 2).sqrt().T
    return result


def pseudo_replicas(
    data: CineData,
    image: Tensor,
    reconstruct: Callable[[CineData], Tensor],
    *,
    n_replicas: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NoiseMap:
    """Noise of an image by repeated reconstruction of data with added noise, for any method.

    Parameters
    ----------
    data
        Data without batch axes, with ``noise_std``. Noise is added to their k-space, which should be that predicted by
        the image.
    image
        ``(frames, y, x)``, whose phase is the direction of the signal.
    reconstruct
        Reconstructs the image ``(frames, y, x)`` from data.
    n_replicas
        Number of replicas, at least 2.
    seed
        Seed of the noise.
    progress
        Called with (replicas done, number of replicas).
    """
    assert data.noise_std is not None
    phase, kspace = phasor_of(image).conj(), data.kspace
    weight = (data.mask * data.noise_std).to(kspace.real.dtype)
    replicas = []
    for number in range(n_replicas):
        noise = white_noise(np.random.default_rng([seed, 7, number]), kspace.shape).to(kspace)
        replica = reconstruct(replace(data, kspace=kspace + noise * weight))
        replicas.append(((replica.to(image) - image) * phase).real.cpu())
        if progress:
            progress(number + 1, n_replicas)
    return _noise_of(torch.stack(replicas), support_of(image.cpu()))


def _noise_of(replicas: Tensor, support: Tensor) -> NoiseMap:
    """Noise of replicas ``(replicas, frames, y, x)``, and its error.

    The variance of each frame is noisy; the product of its mean over frames and a factor for each frame is less noisy,
    but may be biased. The result is their weighted mean, with the weight w of James and Stein 1961: with m the mean
    square difference of both, and s the part of it that is due to the number of replicas, w = 1 - s / m, and the mean
    square error is w s.
    """
    n, tiny = len(replicas), torch.finfo(torch.float32).tiny
    deviations = average_pixels((replicas - replicas.mean(0)).square() * (n / (n - 1)))
    own = deviations.mean(0)  # (frames, y, x)
    pooled = own.mean(0)
    by_frame = own[:, support].sum(-1) / pooled[support].sum().clamp(min=tiny)
    product = pooled * by_frame[:, None, None]
    if not bool(support.any()):
        return NoiseMap(product.sqrt(), 0.0, n)
    scale = product.clamp(min=tiny)
    sampling = (deviations.var(0) / n / scale.square())[:, support].mean()
    difference = ((own - product) / scale)[:, support].square().mean()
    weight = float((1 - sampling / difference.clamp(min=tiny)).clamp(0, 1))
    pooled_error = (deviations.mean(1).var(0) / n / pooled.clamp(min=tiny).square())[support].mean()
    error = float((weight * sampling + (1 - weight) ** 2 * pooled_error).sqrt()) / 2  # halved for the square root
    return NoiseMap((weight * own + (1 - weight) * product).sqrt(), error, n)


def average_pixels(values: Tensor) -> Tensor:
    """Mean over a square around each pixel of ``(..., y, x)``, truncated at the edges."""
    margin, size = AVERAGED_PIXELS // 2, values.shape[-2:]
    mean = torch.nn.functional.avg_pool2d(
        values.reshape(-1, 1, *size), AVERAGED_PIXELS, 1, margin, count_include_pad=False
    )
    return mean.reshape(values.shape)
