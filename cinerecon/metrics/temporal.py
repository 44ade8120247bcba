"""Measures of the fidelity of motion, to which PSNR is insensitive.

Each measure takes two image series ``(frames, y, x)``, the image and the reference, and compares magnitudes. A gated
cine covers one cardiac cycle, so that the first frame follows the last; a real-time series (``is_cyclic=False``) is not
cyclic.

The rate of change of the phase over time and space describes a complex cine without a reference.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cinerecon.metrics.heart import Heart
from cinerecon.metrics.measures import SSIM_WINDOW, Array, as_pair, ssim

STEEP_FRACTION = 0.1
"""Fraction of pixels that `temporal_sharpness` uses: those with the steepest temporal edges."""


def xt_ssim(image: Array, reference: Array, data_range: float | None = None, *, is_cyclic: bool = True) -> float:
    """SSIM of the planes (y, time) and (x, time), the mean of both; parameters as in `measures.ssim`.

    Time is extended by half a window at both ends, periodically or by mirror images, so that every frame has the same
    weight.
    """
    a, b = as_pair(image, reference, magnitude=True)
    peak = float(b.max()) if data_range is None else data_range
    n, half = len(b), SSIM_WINDOW // 2
    around = torch.arange(-half, n + half)
    mirror = around % (2 * n)
    around = around % n if is_cyclic else torch.minimum(mirror, 2 * n - 1 - mirror)
    planes = [[x[around].movedim(0, -1), x[around].movedim(0, -1).transpose(0, 1)] for x in (a, b)]
    return sum(ssim(plane, reference_plane, peak) for plane, reference_plane in zip(*planes, strict=True)) / 2


def temporal_sharpness(image: Array, reference: Array, *, is_cyclic: bool = True) -> float:
    """Steepness of temporal edges relative to the reference: 1 is ideal, less means temporal blur.

    For each pixel, the largest difference between adjacent frames of the reference is compared with the same difference
    of the image, with its sign, so that noise does not increase the sharpness. The differences are summed over the 10 %
    of pixels with the largest differences.
    """
    series = [x.double() for x in as_pair(image, reference, magnitude=True)]
    steps = [torch.diff(x, dim=0, append=x[:1] if is_cyclic else None) for x in series]
    where = steps[1].abs().argmax(0, keepdim=True)
    of_image, of_reference = (step.gather(0, where)[0].flatten() for step in steps)
    steepest = of_reference.abs().topk(max(1, round(STEEP_FRACTION * of_reference.numel()))).indices
    of_image, of_reference = of_image[steepest], of_reference[steepest]
    total = float(of_reference.abs().sum())
    return float((of_image * of_reference.sign()).sum()) / total if total > 0 else math.nan


def area_agreement(image: Array, reference: Array, heart: Heart) -> dict[str, float]:
    """Errors of the area of the ventricular blood pool at diastole and systole.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)``, the whole field of view.
    heart
        The heart, located in the reference.

    Returns
    -------
    dict
        ``diastolic_area`` and ``systolic_area``: error of the area, in percent of the reference; ``area_change``: error
        of the fractional area change 100 (diastole - systole) / diastole, in percentage points. Errors are signed:
        temporal blur reduces the area change, so that its error is negative. NaN without a blood pool.
    """
    if heart.pool is None:
        return dict.fromkeys(("diastolic_area", "systolic_area", "area_change"), math.nan)
    image, reference = as_pair(image, reference, magnitude=True)
    of_image, of_reference = heart.pool.areas(image), heart.pool.areas(reference)
    d, s = heart.diastole, heart.systole

    def error(frame: int) -> float:
        return 100 * float(of_image[frame] / of_reference[frame] - 1) if of_reference[frame] > 0 else math.nan

    def change(areas: Tensor) -> float:
        return 100 * float(1 - areas[s] / areas[d]) if areas[d] > 0 else math.nan

    return {
        "diastolic_area": error(d),
        "systolic_area": error(s),
        "area_change": change(of_image) - change(of_reference),
    }


class PhaseChange(NamedTuple):
    """Mean absolute phase difference of adjacent pixels, weighted by intensity.

    Attributes
    ----------
    per_frame, per_row, per_column
        Difference between adjacent frames, along y and along x [rad].
    """

    per_frame: float
    per_row: float
    per_column: float


def phase_change(image: Tensor) -> PhaseChange:
    """Mean absolute phase difference between adjacent frames, rows and columns.

    Each pair of adjacent pixels a, b has the weight |a| |b|, so that air and noise contribute little. The phase
    difference is wrapped; a change of sign is a difference of pi.

    Parameters
    ----------
    image
        ``(frames, y, x)`` complex.
    """
    return PhaseChange(*(_change(image, dim) for dim in (-3, -2, -1)))


def _change(image: Tensor, dim: int) -> float:
    n = image.shape[dim] - 1
    if n < 1:
        return 0.0
    product = image.narrow(dim, 1, n) * image.narrow(dim, 0, n).conj()
    weight = product.abs()
    return float((weight * product.angle().abs()).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny))
