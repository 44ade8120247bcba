"""Consistency of data and image: residual, coil maps, frames and repeated lines."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.methods.base import make_encoding
from cinerecon.physics.fourier import fft2c, ifft2c, keep_centre
from cinerecon.physics.sampling import calibration_size, sampling_kind
from cinerecon.physics.views import time_average
from cinerecon.reconstruction.trust.hold_out import power

Values = Mapping[str, float]

CENTRE_RADIUS = 0.2
"""Distance from the centre, relative to the extent of k-space, within which repeated lines are compared, where the
signal exceeds the noise."""
FINE_PIXELS, MAX_GHOSTS = 7, 10
"""Width of the moving average that is subtracted to obtain the fine structure [pixels]; ghosts are displaced by at
least a tenth of the image."""
OBJECT_LEVEL = 0.1
"""Magnitude of the smoothed image, relative to its maximum, above which a pixel belongs to the object."""
BRIGHT_QUANTILE = 0.995
"""Quantile of the magnitude that represents the brightness of an image."""
MAX_FRAMES = 32
"""Number of frames up to which the largest of their differences is used."""
SMALLEST_RATIO = 1e-8
"""Smallest ratio of powers; smaller ratios are replaced by it."""


def decibels(ratio: float) -> float:
    """Convert a ratio of powers to dB; NaN remains NaN."""
    return 10 * math.log10(max(ratio, SMALLEST_RATIO)) if math.isfinite(ratio) else math.nan


def brightness_of(image: Tensor) -> float:
    """Magnitude of the bright pixels of an image series, always positive."""
    return max(quantile(image.abs(), BRIGHT_QUANTILE), 1e-30)


def quantile(values: Tensor, share: float) -> float:
    """Quantile by nearest rank, without the sorting that dominates the time of ``torch.quantile``."""
    return float(values.flatten().kthvalue(1 + round(share * (values.numel() - 1))).values)


def residual_values(data: CineData, image: Tensor, noise_std: float) -> Values:
    """Data residual relative to noise and to signal, and its variation among frames and among coils [dB]."""
    error = torch.view_as_real(make_encoding(data).forward(image).sub_(data.kspace))
    by_frame_and_coil = torch.linalg.vector_norm(error, dim=(2, 3, 4)).square()
    n_samples = data.mask.expand(-1, -1, *data.matrix).sum((1, 2, 3)).clamp(min=1)  # (frames,)
    by_frame = by_frame_and_coil.sum(1) / (n_samples * data.n_coils)
    by_coil = by_frame_and_coil.sum(0) / n_samples.sum()
    energy = torch.linalg.vector_norm(torch.view_as_real(data.kspace)).square() / (n_samples.sum() * data.n_coils)
    mean = float(by_coil.mean())
    return {
        "residual_over_noise": decibels(mean / max(noise_std**2, 1e-30)),
        "residual_over_signal": decibels(mean / max(float(energy), 1e-30)),
        "residual_of_worst_frame": _excess(by_frame),
        "residual_of_worst_coil": _excess(by_coil),
    }


def map_values(data: CineData) -> Values:
    """Energy of the central k-space that coil maps cannot explain, for all coils and for the worst coil [dB].

    The time average I of the calibration region is projected onto the maps, P = S S^H I. For normalised maps that
    belong to the data, I - P is small. NaN with one coil.
    """
    if data.csm is None:
        return {"map_misfit": math.nan, "map_misfit_of_worst_coil": math.nan}
    average = time_average(data.kspace, data.mask)
    size = calibration_size(data.mask, data.matrix[1])
    central = keep_centre(average, size)
    images = ifft2c(central)
    outside = fft2c(images - data.csm * (data.csm.conj() * images).sum(0))
    misfit = power(centre_crop(outside, size)).sum((1, 2))
    energy = power(central).sum((1, 2))
    smallest = 1e-3 * energy.mean()
    return {
        "map_misfit": decibels(float(misfit.sum() / energy.sum().clamp(min=1e-30))),
        "map_misfit_of_worst_coil": decibels(float((misfit / energy.clamp(min=smallest)).max())),
    }


def repeated_sample_values(data: CineData, noise_std: float) -> Values:
    """Agreement of samples around the centre of k-space with those of other frames at the same point [dB].

    Each sample is divided by the root mean square over frames and the noise, so that all points have equal weight and
    the brightest ones do not dominate. ``mismatch`` is 1 - Re<a, b> / (|a| |b|), summed over the samples a of points
    that were sampled more than once, where b is the mean of all other frames; ``step_mismatch`` is the same with b from
    the last frame that sampled the point; ``phase_mismatch`` is the mean square of the phase difference to the mean;
    and ``mismatch_of_worst_frame`` is that of a frame relative to the median. NaN if no point was sampled twice.
    """
    size = [max(4, round(CENTRE_RADIUS * n)) for n in data.matrix]
    kspace = centre_crop(data.kspace, (size[0], size[1]))
    mask = centre_crop(data.mask.expand(*data.mask.shape[:-1], data.matrix[1]), (size[0], size[1]))
    mask = mask & (mask.sum(0) > 1)
    count = mask.sum(0).clamp(min=1)
    level = (power(kspace * mask).sum((0, 1)) / (count[0] * data.n_coils)).sqrt() + noise_std
    kspace = kspace * mask / level
    others = (kspace.sum(0) - kspace) / (count - 1).clamp(min=1) * mask
    before = _last_samples(kspace, mask, is_cyclic=not data.meta.is_real_time)
    product = (kspace * others.conj()).sum(1)  # (frames, ky, kx)
    lengths = (power(kspace).sum(1) * power(others).sum(1)).sqrt()
    if not float(lengths.sum()) > 0:
        return dict.fromkeys(("mismatch", "step_mismatch", "phase_mismatch", "mismatch_of_worst_frame"), math.nan)
    by_frame = 1 - product.real.sum((1, 2)) / lengths.sum((1, 2)).clamp(min=1e-30)
    step = (kspace * before.conj()).sum().real / (power(kspace * (before != 0)).sum() * power(before).sum()).sqrt()
    return {
        "mismatch": decibels(1 - float(product.real.sum() / lengths.sum())),
        "step_mismatch": decibels(1 - float(step)),
        "phase_mismatch": decibels(float((product.angle().square() * lengths).sum() / lengths.sum())),
        "mismatch_of_worst_frame": _excess(by_frame[lengths.sum((1, 2)) > 0].clamp(min=1e-4)),
    }


def line_values(data: CineData, noise_std: float) -> Values:
    """Difference of the energy of lines around the centre from that of the same lines in other frames [dB].

    A line that was stored at a wrong position has the energy of another line. ``line_energy`` is the root-mean-square
    difference from the median over frames, for the worst frame. NaN for masks of single points, and if no line was
    sampled twice.
    """
    if sampling_kind(data.mask) == "points":
        return {"line_energy": math.nan}
    size = [max(4, round(CENTRE_RADIUS * n)) for n in data.matrix]
    energy = power(centre_crop(data.kspace, (size[0], size[1]))).mean((1, 3)) + 4 * noise_std**2  # (frames, ky)
    sampled = centre_crop(data.mask.any(-1, keepdim=True), (size[0], 1))[:, 0, :, 0]
    level = torch.where(sampled, 10 * energy.clamp(min=1e-30).log10(), torch.nan)
    repeated = sampled & (sampled.sum(0) > 1)
    squares = torch.where(repeated, level - level.nanmedian(0).values, 0).square().sum(1)
    count = repeated.sum(1)
    by_frame = squares[count > 0] / count[count > 0]
    return {"line_energy": float(by_frame.max().sqrt()) if len(by_frame) else math.nan}


def _last_samples(kspace: Tensor, mask: Tensor, *, is_cyclic: bool) -> Tensor:
    """For each sample, the last earlier frame's sample at the same point, 0 if there is none; sizes as for k-space."""
    n_frames = len(mask)
    frame = torch.arange(n_frames, device=mask.device).view(-1, 1, 1, 1)
    latest = torch.where(mask, frame, -1).cummax(0).values  # last sampled frame up to each frame
    before = torch.cat([torch.full_like(latest[:1], -1), latest[:-1]])
    if is_cyclic:
        before = torch.where(before < 0, latest[-1:], before)
    values = kspace.gather(0, before.clamp(min=0).expand(kspace.shape))
    return values * (mask & (before >= 0) & (before != frame))


def frame_values(image: Tensor) -> Values:
    """Median and largest difference between frames and the next frame, and variation of their energy [dB]."""
    first, second = image[:-1].flatten(1), image[1:].flatten(1)
    lengths = torch.linalg.vector_norm(image.flatten(1), dim=1).clamp(min=1e-30)
    similarity = (first.conj() * second).sum(1).abs() / (lengths[:-1] * lengths[1:])
    change = (1 - similarity).clamp(min=1e-6)
    return {
        "frame_change": decibels(float(change.median())),
        "frame_change_at_most": _excess(change),
        "frame_energy": 20 * float((lengths / lengths.median()).log10().abs().max()),
    }


def frame_order_values(image: Tensor) -> Values:
    """Whether the magnitude of each frame is between those of the adjacent frames, and whether its energy agrees [dB].

    ``frame_order`` and ``frame_outlier`` are the median and the largest ratio of the difference between a frame and the
    mean of the two adjacent frames to half of the difference between these. They are small if the heart moves steadily,
    and large if frames are exchanged or belong to another heartbeat. Since larger ratios occur by chance in long
    series, ``frame_outlier`` is then the ratio that one of `MAX_FRAMES` frames exceeds. ``frame_gain`` is the largest
    difference of the energy of a frame from the median.
    """
    magnitude = image.abs()
    before, frames, after = (magnitude[start : len(image) - 2 + start] for start in range(3))
    curvature, slope = (values.square().sum((1, 2)) for values in (frames - (before + after) / 2, (after - before) / 2))
    energy = magnitude.square().sum((1, 2)).clamp(min=1e-30)
    ratio = curvature / slope.clamp(min=1e-6 * float(energy.mean()))
    return {
        "frame_order": decibels(float(ratio.median())),
        "frame_outlier": decibels(float(ratio.sort(descending=True).values[(len(image) - 1) // MAX_FRAMES])),
        "frame_gain": 10 * float((energy / energy.median()).log10().abs().max()),
    }


def content_values(image: Tensor, brightness: float) -> Values:
    """Properties of the image itself [dB]: peak, moving fraction, fraction of high frequencies, and background."""
    magnitude = image.abs()
    mean_power = float(magnitude.square().mean())
    moving = float(power(image - image.mean(0)).mean())
    kspace = power(fft2c(image)).sum(0)
    y, x = kspace.shape
    inner = float(centre_crop(kspace, (y // 2, x // 2)).sum())
    background = quantile(magnitude.mean(0), 0.05) / brightness
    return {
        "peak": decibels(float(magnitude.max()) ** 2 / max(mean_power, 1e-30)),
        "moving_share": decibels(moving / max(mean_power, 1e-30)),
        "high_frequencies": decibels(1 - inner / max(float(kspace.sum()), 1e-30)),
        "background": 2 * decibels(background),
    }


def plausibility_values(image: Tensor) -> Values:
    """Signs of ghosts and of phase errors between lines [dB], which do not change the energy of k-space.

    ``rough_phase`` is the fraction of the energy of the fine structure, of the temporal mean within the object, that is
    out of phase with the smoothed image. ``ghosts`` is the largest autocorrelation of the fine structure over a shift
    along y. ``edges`` is the mean over the root mean square of the gradient of the magnitude, which is small for images
    with few edges.
    """
    y, x = image.shape[-2:]
    size = max(4, round(CENTRE_RADIUS * y)), max(4, round(CENTRE_RADIUS * x))
    mean = image.mean(0)
    smooth = ifft2c(keep_centre(fft2c(mean), size))
    is_object = smooth.abs() > OBJECT_LEVEL * smooth.abs().max()
    rotated = ((mean - smooth) * torch.sgn(smooth).conj())[is_object]
    magnitude = image.abs().mean(0)
    local = torch.nn.functional.avg_pool2d(magnitude[None], FINE_PIXELS, 1, FINE_PIXELS // 2, count_include_pad=False)[
        0
    ]
    spectrum = power(torch.fft.fft2(magnitude - local)).sum(1)
    correlation = torch.fft.irfft(spectrum[: y // 2 + 1], n=y)
    shifted = correlation[y // MAX_GHOSTS : y // 2 + 1]
    gradient = torch.hypot(magnitude.diff(dim=0)[:, :-1], magnitude.diff(dim=1)[:-1])
    return {
        "rough_phase": decibels(float(rotated.imag.square().sum() / power(rotated).sum().clamp(min=1e-30))),
        "ghosts": decibels(float(shifted.max() / correlation[0].clamp(min=1e-30))),
        "edges": 2 * decibels(float(gradient.mean() / gradient.square().mean().sqrt().clamp(min=1e-30))),
    }


def _excess(values: Tensor) -> float:
    """Ratio of the largest value to the median [dB]."""
    median = float(values.median()) if len(values) else math.nan
    return decibels(float(values.max()) / median) if median > 0 else math.nan
