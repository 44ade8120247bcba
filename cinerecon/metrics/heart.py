"""Location of the heart in the reference of a cine: a box around it, and the blood pool of the ventricle."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.axes import IMAGE, require_axes
from cinerecon.cine import as_tensor

Array = NDArray[np.float64]

SQUARE = (1.0, 1.0)
"""Size of a pixel along (y, x) if it is unknown [mm]."""
MAX_MOTION_SPREAD = 0.25
"""Standard deviation of the position of motion, as a fraction of the field of view, above which it is noise."""
HEART_RADIUS_SD, VENTRICLE_RADIUS_SD = 3.0, 2.5
"""Radius of the heart and of the ventricle around the centre of motion, in standard deviations of its position."""
BOX_HALF_WIDTH_SD, MAX_BOX_HALF_WIDTH = 2.5, 0.35
"""Half width of the box in standard deviations, and its maximum as a fraction of the field of view."""
MIN_BOX_SIZE = 24
"""Smallest side of the box [pixels], so that SSIM windows fit."""
VENTRICLE_MOTION_FRACTION = 0.3
"""Smallest motion of a pixel of the ventricle, as a fraction of the strongest motion."""
OTSU_BINS = 128
"""Number of bins of the histogram in which the threshold of blood is searched."""
MIN_SEPARABILITY, MIN_REGULARITY, MIN_AREA_CHANGE = 0.7, 0.75, 0.2
"""Criteria of a blood pool: variance between blood and muscle over the total, power of the area in the first harmonic
over the total, and change of the area over its maximum."""


@dataclass(frozen=True, eq=False)
class BloodPool:
    """The blood pool of a ventricle in a short-axis view.

    Attributes
    ----------
    region
        ``(y, x)`` bool, the region that contains blood in a part of the cycle.
    threshold
        Magnitude above which a pixel of the region is blood.
    """

    region: Tensor
    threshold: float

    def areas(self, image: Tensor) -> Tensor:
        """Area of blood in each frame ``(frames,)`` of a series ``(frames, y, x)`` [pixels].

        A pixel contributes a fraction if its magnitude is within 20 % of the threshold, so that subpixel motion of an
        edge changes the area.
        """
        magnitude = image.abs().double()
        parts = ((magnitude / self.threshold - 0.8) / 0.4).clamp(0, 1)
        return (parts * self.region.to(image.device)).sum((-2, -1))


@dataclass(frozen=True, eq=False)
class Heart:
    """Location of the heart in a cine.

    Attributes
    ----------
    box
        (first y, last y, first x, last x), last not included.
    column
        Image column through the centre of motion.
    diastole, systole
        Frames with the largest and the smallest blood pool. Without a blood pool, these are the first frame, since
        gated scans begin in diastole, and the frame with the largest difference from it in the box.
    pool
        The blood pool of the ventricle; None if it cannot be segmented, as in most long-axis views.
    """

    box: tuple[int, int, int, int]
    column: int
    diastole: int
    systole: int
    pool: BloodPool | None = None

    def crop(self, image: Tensor) -> Tensor:
        """The part of an image series ``(..., y, x)`` inside the box."""
        top, bottom, left, right = self.box
        return image[..., top:bottom, left:right]


def find_heart(reference: Tensor | NDArray[Any], pixel_size_mm: tuple[float, float] = SQUARE) -> Heart | None:
    """Locate the heart in a reference series ``(frames, y, x)``; None if there is no cardiac motion.

    1. The magnitude of the first temporal harmonic (one per cardiac cycle) is smoothed and squared to weights.
    2. Their centre and standard deviation are computed repeatedly without distant pixels until convergence, so that
       vessels and the chest wall do not contribute. They define the box.
    3. Pixels near the centre with strong motion belong to the ventricle; Otsu's threshold separates blood from muscle.
    4. The blood pool is accepted if both classes are well separated and its area has one maximum per cardiac cycle.

    The result is intended for the comparison of images; it is not a measurement of cardiac function.

    Parameters
    ----------
    reference
        ``(frames, y, x)``
    pixel_size_mm
        Distance of pixels along (y, x) [mm]; only the ratio is used, for distances in the plane.

    Raises
    ------
    ShapeError
        If the reference has fewer axes.

    References
    ----------
    Lin et al., Automated detection of left ventricle in 4D MR images, MICCAI 2006, for step 1;
    Otsu, A threshold selection method from gray-level histograms (1979), doi:10.1109/TSMC.1979.4310076
    """
    reference = as_tensor(reference)
    require_axes("reference", reference, IMAGE)
    magnitude = reference.abs().double().cpu().numpy()
    n_frames, y, x = magnitude.shape
    if n_frames < 2:
        return None
    motion = motion_of(magnitude)
    if not motion.max() > 1e-9 * magnitude.max() * n_frames:
        return None
    steps = steps_of(pixel_size_mm)
    centre, deviation, _ = locate_motion(motion, steps=steps)
    field = min(y * steps[0], x * steps[1])
    if deviation > MAX_MOTION_SPREAD * field:
        return None
    half = min(BOX_HALF_WIDTH_SD * deviation, MAX_BOX_HALF_WIDTH * field)
    halves = [max(MIN_BOX_SIZE / 2, half / step) for step in steps]
    edges = [_interval(middle, half, size) for middle, half, size in zip(centre, halves, (y, x), strict=True)]
    box, column = (*edges[0], *edges[1]), min(x - 1, round(centre[1]))
    pool = _find_blood_pool(magnitude, motion, steps)
    if pool is not None:
        areas = pool.areas(reference)
        return Heart(box, column, int(areas.argmax()), int(areas.argmin()), pool)
    inside = magnitude[:, box[0] : box[1], box[2] : box[3]]
    return Heart(box, column, 0, int(((inside - inside[0]) ** 2).sum((1, 2)).argmax()))


def motion_of(magnitude: Array) -> Array:
    """Magnitude ``(y, x)`` of the first temporal harmonic of ``(frames, y, x)``, smoothed."""
    from scipy import ndimage

    harmonic: Array = np.abs(np.fft.fft(magnitude, axis=0)[1])
    return np.asarray(ndimage.gaussian_filter(harmonic, min(magnitude.shape[1:]) / 60))


def steps_of(pixel_size_mm: tuple[float, float]) -> tuple[float, float]:
    """Distance of pixels along (y, x) in units of a square pixel of the same area; 1 if pixels are square."""
    dy, dx = pixel_size_mm
    side = math.sqrt(dy * dx)
    return dy / side, dx / side


def locate_motion(
    motion: Array, cutoff_sd: float = HEART_RADIUS_SD, *, steps: tuple[float, float] = SQUARE
) -> tuple[tuple[float, float], float, NDArray[np.bool_]]:
    """Locate motion ``(y, x)``.

    Parameters
    ----------
    motion
        ``(y, x)`` amplitude of the motion.
    cutoff_sd
        Distance from the centre, in standard deviations, beyond which pixels are excluded.
    steps
        Distance of pixels along (y, x) [square pixels], see `steps_of`.

    Returns
    -------
    tuple
        Centre (y, x) [pixels], standard deviation [square pixels], and the pixels that are not excluded.
    """
    rows, columns = np.mgrid[: motion.shape[0], : motion.shape[1]]
    near = np.ones(motion.shape, bool)
    while True:
        weights = motion**2 * near
        total = weights.sum()
        y, x = float((weights * rows).sum() / total), float((weights * columns).sum() / total)
        squared = ((rows - y) * steps[0]) ** 2 + ((columns - x) * steps[1]) ** 2
        deviation = float(np.sqrt((weights * squared).sum() / total / 2))
        nearer = near & (squared < max(cutoff_sd * deviation, 2.0) ** 2)
        if (nearer == near).all():
            return (y, x), deviation, near
        near = nearer


def _find_blood_pool(magnitude: Array, motion: Array, steps: tuple[float, float]) -> BloodPool | None:
    from scipy import ndimage

    _, _, near = locate_motion(motion, VENTRICLE_RADIUS_SD, steps=steps)
    strong = near & (motion >= VENTRICLE_MOTION_FRACTION * motion[near].max())
    region = ndimage.binary_fill_holes(ndimage.binary_closing(strong, iterations=2))
    threshold, separability = otsu(magnitude[:, region].ravel())
    if not threshold > 0 or separability < MIN_SEPARABILITY:
        return None
    pool = BloodPool(torch.from_numpy(region), threshold)
    areas = pool.areas(torch.from_numpy(magnitude)).numpy()
    power = np.abs(np.fft.rfft(areas)[1:]) ** 2
    is_regular = power[0] >= MIN_REGULARITY * power.sum()
    changes = areas.max() - areas.min() >= MIN_AREA_CHANGE * areas.max()
    return pool if is_regular and changes else None


def _interval(middle: float, half: float, size: int) -> tuple[int, int]:
    """First pixel and end of an interval around the middle, shifted into the field of view."""
    length = min(size, round(2 * half))
    first = min(max(0, round(middle - length / 2)), size - length)
    return first, first + length


def otsu(values: Array) -> tuple[float, float]:
    """Otsu's threshold between two classes, and the fraction of the variance between the classes.

    If all values are equal, the threshold is their value, so that none is above it; it is 0 without values.
    """
    if values.size == 0 or values.min() == values.max():
        return float(values.max(initial=0.0)), 0.0
    counts, edges = np.histogram(values, OTSU_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
    between = np.nan_to_num(below * above * gap**2, posinf=0.0) / float(counts.sum()) ** 2
    best = int(np.argmax(between))
    variance = float(values.var())
    return float(edges[1 + best]), float(between[best]) / variance if variance > 0 else 0.0
