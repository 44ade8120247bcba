"""Estimation of the noise level of undersampled data from the data alone.

The power of white noise is uniform, unlike that of the signal. If high frequencies along ky and kx are transformed
along x, the signal of edges is confined to their columns, and other columns contain mainly noise. The mean power of the
columns with the lowest power is therefore that of the noise (similar to the median of the finest wavelets in Donoho,
Johnstone 1994, doi:10.1093/biomet/81.3.425). The static part of the image is first subtracted if lines were sampled
more than once. Lines with much more power than others (spikes, interference) are excluded. The estimate is calibrated
with the same statistic of white noise for the same mask.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

MIN_LINE_DISTANCE = 0.7
"""Distance from the centre, relative to the extent of ky, beyond which lines are used."""
MIN_COLUMN_DISTANCE = 0.6
"""The same along kx, selected by a smooth window."""
MIN_POINT_DISTANCE = 0.8
"""The same for the radius, if single points were sampled."""
QUIET_QUANTILE = 0.1
"""The quantile of the mean powers that estimates the power of the noise."""
N_AVERAGED_COLUMNS = 4
"""Number of adjacent columns whose powers are averaged."""
N_AVERAGED_POINTS = 64
"""Number of adjacent points whose powers are averaged, if single points were sampled."""
MAX_POWER_RATIO = 3.0
"""Largest power of a line over the median, times the root of the number of lines; above it is a spike or interference.

A line below the limit adds at most three over this root to the mean power. Intact scans, including those without noise,
remain below it.
"""
N_REJECTIONS = 5
"""Largest number of iterations of the rejection of corrupted lines."""
MIN_REPEATED_LINES = 16
"""Number of repeatedly sampled lines below which the static part of the image is not subtracted."""


def white_noise(rng: np.random.Generator, shape: Sequence[int], *, parts_axis: int = -1) -> Tensor:
    """Draw complex white Gaussian noise of unit variance.

    Parameters
    ----------
    rng
        Random number generator.
    shape
        Shape of the noise.
    parts_axis
        Axis of real and imaginary parts in the drawn array, -1 or 0, which determines the order of the random numbers.

    Returns
    -------
        The noise, complex64 of the given shape.
    """
    if parts_axis == -1:
        parts = torch.from_numpy(rng.standard_normal((*shape, 2), dtype=np.float32))
        return torch.view_as_complex(parts) / math.sqrt(2)
    real, imaginary = torch.from_numpy(rng.standard_normal((2, *shape), dtype=np.float32))
    return torch.complex(real, imaginary) / math.sqrt(2)


def noise_level(kspace: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation of the complex noise of a sample, in the units of k-space.

    For k-space divided by the scale of the image, it is relative to the brightness of the image. If whole readouts were
    sampled, its error is below 15 % for noise above 2 % of the brightness with one coil, and above 1 % with several.
    Weaker noise is overestimated because of remaining signal, more so if single points were sampled.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled; values of exactly zero are not used as samples.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    ``(*batch)`` float; 0 if the data have no noise or no sample.
    """
    batch = kspace.shape[:-4]
    masks = mask.expand(*batch, *mask.shape[-4:]).flatten(0, -5) if batch else mask[None]
    series = kspace.flatten(0, -5) if batch else kspace[None]
    levels = [_level(cine, cine_mask) for cine, cine_mask in zip(series, masks, strict=True)]
    return torch.stack(levels).reshape(batch)


def _level(kspace: Tensor, mask: Tensor) -> Tensor:
    samples, quiet_power = _outer_lines(kspace) if mask.shape[-1] == 1 else _outer_points(kspace)
    if samples.numel() == 0:
        return kspace.real.new_zeros(())
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(samples.shape, dtype=torch.complex64, generator=generator).to(samples.device) * (samples != 0)
    measured, expected = quiet_power(samples), quiet_power(white)
    return (measured / expected.clamp(min=torch.finfo(torch.float32).tiny)).sqrt().to(kspace.real.dtype)


def _outer_lines(kspace: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Outer lines ``(lines, coils, kx)``, without the static part if possible, and the lowest power of columns.

    Lines with corrupted samples are zero.
    """
    support = (kspace != 0).any(1)  # (frames, ky, kx)
    sampled = support.any(-1)
    lines = sampled & (_distance(sampled.any(0)) >= MIN_LINE_DISTANCE)
    distance = _distance(support.any(1).any(0))
    window = torch.sin(math.pi * ((distance - MIN_COLUMN_DISTANCE) / (1 - MIN_COLUMN_DISTANCE)).clamp(0, 1)).square()

    def quiet_power(samples: Tensor) -> Tensor:
        columns = torch.fft.ifft(samples * window, dim=-1)  # the order of columns is irrelevant
        return _low_quantile(columns.abs().square().flatten(0, -2).mean(0), N_AVERAGED_COLUMNS)

    repeated = lines & (sampled.sum(0) > 1)
    is_subtracted = int(repeated.sum()) >= MIN_REPEATED_LINES
    frames, rows = (repeated if is_subtracted else lines).nonzero(as_tuple=True)
    samples = moving = kspace[frames, :, rows]
    for _ in range(N_REJECTIONS if len(rows) else 0):
        moving = _without_static_part(samples, rows) if is_subtracted else samples
        corrupted = _corrupted_lines(moving, window, rows)
        if not corrupted.any():
            break
        samples = samples * ~corrupted[..., None]
    return moving, quiet_power


def _without_static_part(samples: Tensor, rows: Tensor) -> Tensor:
    """Lines ``(lines, coils, kx)`` without the mean of each row of k-space; zero if a row has only one line."""
    intact = samples.any(-1, keepdim=True)
    shape = int(rows.max()) + 1, *samples.shape[1:]
    n = intact.new_zeros(*shape[:-1], 1, dtype=torch.float32).index_add_(0, rows, intact.float())[rows]
    still = samples.new_zeros(shape).index_add_(0, rows, samples)[rows] / n.clamp(min=1)
    return (samples - still) * (n / (n - 1).clamp(min=1)).sqrt() * (intact & (n > 1))


def _corrupted_lines(samples: Tensor, window: Tensor, rows: Tensor) -> Tensor:
    """Lines ``(lines, coils)`` with much more power than others of their coil, and the most in their row of k-space.

    The subtraction of the static part spreads a spike over its row, so that only the line with the largest power is
    rejected in each iteration.
    """
    power = (samples * window).abs().square().sum(-1)
    weight = ((samples != 0) * window.square()).sum(-1)  # lower if the corners of k-space were not measured
    is_long = (weight > 0) & (weight >= weight.amax(0, keepdim=True) / 2)
    median = torch.where(is_long, power, torch.nan).nanmedian(0).values
    shape = int(rows.max()) + 1, power.shape[1]
    of_row = power.new_zeros(shape).scatter_reduce_(0, rows[:, None].expand_as(power), power, "amax")[rows]
    return (power > MAX_POWER_RATIO * is_long.sum(0).sqrt() * median) & (power > of_row / 2)


def _outer_points(kspace: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Outer points ``(points)`` ordered by direction, and a function for the lowest power of directions."""
    support = kspace != 0
    n_y, n_x = support.shape[-2:]
    far_y, far_x = (_distance(support.any(dim).flatten(0, 1).any(0)) for dim in (-1, -2))
    y, x = (torch.arange(n, device=kspace.device) / n - n // 2 / n for n in (n_y, n_x))
    angle = torch.atan2(y[:, None], x) % math.pi
    outer = support & (torch.hypot(far_y[:, None], far_x) >= MIN_POINT_DISTANCE)
    order = angle.expand(support.shape)[outer].argsort(stable=True)
    return kspace[outer][order], lambda samples: _low_quantile(samples.abs().square(), N_AVERAGED_POINTS)


def _distance(sampled: Tensor) -> Tensor:
    """Distance of each of n frequencies from the centre, relative to the farthest sampled frequency."""
    n = len(sampled)
    distance = (torch.arange(n, device=sampled.device) - n // 2).abs().float()
    return distance / (distance * sampled).max().clamp(min=1)


def _low_quantile(power: Tensor, n_together: int) -> Tensor:
    """A low quantile of the mean powers of adjacent samples."""
    means = torch.nn.functional.avg_pool1d(power[None].float(), min(n_together, len(power)), 1)[0]
    return torch.quantile(means[:: max(1, len(means) // 100_000)], QUIET_QUANTILE)
