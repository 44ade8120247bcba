"""Remarks on images of other programs whose differences from the reference are systematic, e.g. another frame order.

Such images give meaningless scores. They are reported, but not corrected.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cinerecon.evaluation.orientation import MIN_GAIN_DB, best_factor, gain_db
from cinerecon.words import name_frames

MAX_SIGNAL_LOST, MAX_SIGNAL_ADDED = 0.01, 0.3
"""Fraction of the energy of the reference at pixels that are zero in all frames of the images, and the reverse, above
which they are reported. Archives mask references outside a circle, where reconstructions contain noise."""
N_LEVELS = 64
"""Number of intensities at which an image is compared with the reference."""
LEVELS_GAIN_DB, LEVELS_ERROR = 4.0, 0.02
"""Smallest reduction of the error by a change of intensities [dB], and largest error that then remains, relative to the
energy of the reference. In images with much noise or aliasing, a change of intensities also reduces the error."""
OUTLIER_RATIO, OUTLIER_PERCENTILE = 5.0, 99.9
"""Ratio of the maximum of a reference to a percentile of its pixels above which single pixels define the data range."""
MAX_CLIPPED = 1e-3
"""Fraction of the nonzero pixels with the largest value above which an image is clipped."""
SHORTEST_RATIO = 3
"""Ratio of the other axes to the last one above which it may be the time."""
MAX_PIXEL_DEVIATION = 0.01
"""Relative difference of pixel sizes above which they are reported; smaller ones are due to rounding."""
UNSET_PIXEL_MM = (1.0, 1.0)
"""Pixel size that many programs write if they do not know it [mm]."""
PixelSize = tuple[float, float] | None


def pixel_size_remarks(pixel_mm: PixelSize, reference_mm: PixelSize) -> Iterator[str]:
    """A remark if the pixel sizes (y, x) of images and reference [mm] are known and differ."""
    if pixel_mm is None or reference_mm is None or not _differ(pixel_mm, reference_mm):
        return
    if _differ(pixel_mm, UNSET_PIXEL_MM) and _differ(reference_mm, UNSET_PIXEL_MM):
        own, other = (f"{x:.4g} x {y:.4g} mm" for y, x in (pixel_mm, reference_mm))
        yield f"pixels (x, y) are {own}, those of the reference {other}: another field of view, or a wrong header?"


def _differ(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return any(abs(own - other) > MAX_PIXEL_DEVIATION * other for own, other in zip(first, second, strict=True))


def pixel_remarks(image: Tensor, reference: Tensor) -> Iterator[str]:
    """Remarks on copies of frames, pixels without signal, outliers and the order of axes.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)`` magnitudes.
    """
    n, y, x = image.shape
    if SHORTEST_RATIO * x <= min(n, y):
        yield f"{n} frames of {y} x {x} pixels: is time the last axis? expected (frames, y, x)"
    copies = _copies(image)
    if copies and not _copies(reference):
        yield f"{name_frames(copies)} of {n}: copies of other frames"
    lost, added = _energy_at_zeros(image, reference), _energy_at_zeros(reference, image)
    if lost > MAX_SIGNAL_LOST:
        yield f"the images are zero where the reference has {lost:.0%} of the signal: masked, cropped or padded?"
    if added > MAX_SIGNAL_ADDED:
        yield f"the reference is zero where the images have {added:.0%} of the signal: masked, cropped or padded?"
    for series, whose in ((reference, "the reference"), (image, "the images")):
        largest, bright = float(series.max()), float(np.percentile(series.numpy(), OUTLIER_PERCENTILE))
        if bright > 0 and largest > OUTLIER_RATIO * bright:
            times = f"{largest / bright:.2g} times the {OUTLIER_PERCENTILE}th percentile"
            yield f"the maximum of {whose} is {times}: single pixels determine the scores"
            return
    clipped = _fraction_of_maximum(image)
    if clipped > MAX_CLIPPED > _fraction_of_maximum(reference):
        yield f"{clipped:.1%} of the pixels have the largest value: clipped, as by a display window?"


def _fraction_of_maximum(series: Tensor) -> float:
    """Fraction of the nonzero pixels that have the largest value; the brightest pixel itself is not counted."""
    return float(((series == series.max()).sum() - 1) / (series > 0).sum().clamp_min(1))


def _energy_at_zeros(series: Tensor, other: Tensor) -> float:
    """Fraction of the energy of another series at pixels that are zero in all frames of a series."""
    power = other.square().sum(0, dtype=torch.float64)
    return float((power * ~series.any(0)).sum() / power.sum().clamp_min(torch.finfo(power.dtype).tiny))


def _copies(image: Tensor) -> list[int]:
    """Frames that equal an earlier frame in every pixel."""
    seen: set[bytes] = set()
    copies = []
    for number, frame in enumerate(image.numpy()):
        content = frame.tobytes()
        if content in seen:
            copies.append(number)
        seen.add(content)
    return copies


def frame_remarks(image: Tensor, reference: Tensor) -> Iterator[str]:
    """Remarks if frames fit much better in another order, or each with a factor; parameters as for `pixel_remarks`."""
    own, other = image.double().flatten(1), reference.double().flatten(1)
    _, before = best_factor(own, other)
    powers = own.square().sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    errors = (
        other.square().sum(1)[:, None] - (other @ own.T).square() / powers
    )  # (reference, image), each with a factor
    scaled, best = float(errors.diagonal().sum()), float(errors.amin(1).sum())
    if gain_db(scaled, best) > MIN_GAIN_DB:
        differing = (errors.argmin(1) != torch.arange(len(errors))).nonzero().ravel().tolist()
        yield f"frames in another order? more similar to another frame of the reference: {name_frames(differing)}"
    elif gain_db(before, scaled) > MIN_GAIN_DB:
        yield "frames have different scales relative to the reference: was each frame normalised?"


def intensity_remarks(image: Tensor, reference: Tensor) -> Iterator[str]:
    """A remark if the intensities are not proportional to those of the reference; parameters as for `pixel_remarks`."""
    values, expected = image.double().ravel(), reference.double().ravel()
    _, before = best_factor(values, expected)
    levels = torch.from_numpy(np.quantile(values.numpy(), np.linspace(0, 1, N_LEVELS + 1)[1:-1]))
    level = torch.bucketize(values, levels)
    n = torch.bincount(level, minlength=N_LEVELS).clamp_min(1)
    means = torch.bincount(level, expected, minlength=N_LEVELS) / n
    after = float((expected - means[level]).square().sum())
    if after < LEVELS_ERROR * float(expected.square().sum()) and gain_db(before, after) > LEVELS_GAIN_DB:
        yield "intensities are not proportional to those of the reference: an offset, a window or a gamma correction?"
