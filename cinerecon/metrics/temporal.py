"""Whether the motion is right: what PSNR hardly sees, and what a heart's function is read from.

Each measure takes image series ``(frames, y, x)``, first what is judged, then the truth; magnitudes are compared. A
cine is one heartbeat, so the first frame follows the last.
"""

import math

import torch
from torch import Tensor

from cinerecon.metrics.heart import Heart
from cinerecon.metrics.measures import SSIM_WINDOW, ssim

STEEPEST = 0.1
"""Share of the pixels that `temporal_sharpness` looks at: those of the steepest edges in time."""


def xt_ssim(image: Tensor, reference: Tensor, data_range: float | None = None) -> float:
    """SSIM of the planes (y, time) and (x, time), the mean of both; parameters as in `measures.ssim`.

    Time goes on around the beat by half a window at both ends, so that every frame counts as often.
    """
    a, b = image.abs(), reference.abs()
    peak = float(b.max()) if data_range is None else data_range
    n, half = len(b), SSIM_WINDOW // 2
    around = torch.arange(-half, n + half) % n
    planes = [[x[around].movedim(0, -1), x[around].movedim(0, -1).transpose(0, 1)] for x in (a, b)]
    return sum(ssim(one, other, peak) for one, other in zip(*planes, strict=True)) / 2


def temporal_sharpness(image: Tensor, reference: Tensor) -> float:
    """How steep edges in time are, over how steep they are in truth: 1 is right, less is blurred in time.

    At each pixel the steepest step of the truth from one frame to the next is compared with the same step of the image,
    signed alike, so that noise does not pass for sharpness; summed over the tenth of the pixels with the largest steps.
    """
    steps = [torch.diff(x.abs().double(), dim=0, append=x.abs().double()[:1]) for x in (image, reference)]
    where = steps[1].abs().argmax(0, keepdim=True)
    ours, truth = (step.gather(0, where)[0].flatten() for step in steps)
    steepest = truth.abs().topk(max(1, round(STEEPEST * truth.numel()))).indices
    ours, truth = ours[steepest], truth[steepest]
    total = float(truth.abs().sum())
    return float((ours * truth.sign()).sum()) / total if total > 0 else math.nan


def area_agreement(image: Tensor, reference: Tensor, heart: Heart) -> dict[str, float]:
    """How well the area of the ventricle's blood agrees with that of the truth, at diastole and at systole.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` the whole field.
    heart
        Found in the truth.

    Returns
    -------
    dict
        ``diastolic_area`` and ``systolic_area``: error of the area, in percent of the true one; ``area_change``: error
        of the fractional area change 100 (diastole - systole) / diastole, in percentage points. All with their sign:
        blur in time makes the area change too small, so it is negative. NaN where the heart has no pool.
    """
    if heart.pool is None:
        return dict.fromkeys(("diastolic_area", "systolic_area", "area_change"), math.nan)
    ours, truth = heart.pool.areas(image), heart.pool.areas(reference)
    d, s = heart.diastole, heart.systole

    def error(frame: int) -> float:
        return 100 * float(ours[frame] / truth[frame] - 1) if truth[frame] > 0 else math.nan

    def change(areas: Tensor) -> float:
        return 100 * float(1 - areas[s] / areas[d]) if areas[d] > 0 else math.nan

    return {
        "diastolic_area": error(d),
        "systolic_area": error(s),
        "area_change": change(ours) - change(truth),
    }
