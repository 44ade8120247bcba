"""The blood pool of the left ventricle in a short-axis cine: its area over time, and the sharpness of its border.

The ventricle is located once, in the reference: a round, bright region, enclosed by darker muscle, that changes over
the heartbeat. From this seed, image and reference are segmented separately, each with its own threshold, similar to
separate contouring by a reader. Areas therefore include errors of contrast and of edges, not only those of motion.

Limitations: papillary muscles are included in the blood pool; slices through the outflow tract, the valve or the tip of
the apex, where muscle does not enclose the blood, are rejected, or another chamber is mistaken for the ventricle; the
basal plane is not determined. The areas are intended for the comparison of an image with its reference; they are not a
measurement of cardiac function.

Sources: Otsu 1979, doi:10.1109/TSMC.1979.4310076, for thresholds; Ahmad et al. 2015, doi:10.1002/mrm.25390 and
references in it, for the distance over which an edge rises from 20 % to 80 % as a measure of its sharpness.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.metrics.heart import Heart, find_heart, locate_motion, motion_of, otsu, steps_of

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SEARCH_RADIUS_RATIO = 1.6
"""Radius of the searched disc over the largest radius of the ventricle."""
THRESHOLDS = (0.7, 1.0, 1.4)
"""Multiples of Otsu's threshold with which candidates are searched."""
MIN_ROUNDNESS = 0.6
"""Smallest area of a ventricle over that of the circle around its centre that contains 95 % of it."""
MIN_RADIUS_MM, MAX_RADIUS_MM = 6.0, 45.0
"""Limits of the radius of a circle with the largest area of a ventricle [mm]."""
MIN_CHANGE = 0.1
"""Change of the area over the largest area, below which a region is not a ventricle."""
MAX_JUMP, MAX_RATE = 0.35, 5.0
"""Change of the area over the largest area above which the segmentation leaks: between adjacent frames, and per beat.
The larger limit applies, which for a beat of few frames is that per beat."""
N_SECTORS, MUSCLE_MM, DARK_FRACTION, MIN_ENCLOSURE = 24, 6.0, 0.6, 0.8
"""Criteria of a ventricle enclosed by muscle: number of directions, distance outside the border [mm], brightness
relative to blood, and fraction of the directions with muscle."""
MIN_MOTION_SHARE = 0.07
"""Smallest fraction of the squared amplitude of cardiac motion in a ventricle. It was at least 0.08 in short-axis
slices, and at most 0.06 in vessels that would be mistaken for a ventricle, most of them in long-axis views."""
N_RAYS, RAY_STEP = 48, 0.25
"""Number of rays from the centre across the border, and step along them [square pixels]."""
MIN_STEP = 1e-6
"""Smallest fall of a profile relative to its start; smaller ones are due to the rounding of the interpolation."""
BORDER_MM = 6.0
"""Distance on each side of the border within which its edge is measured [mm]."""


@dataclass(frozen=True)
class Seed:
    """Location of the ventricle.

    Distances in the plane have the unit of a square pixel of the same area as the pixels.

    Attributes
    ----------
    centre
        (y, x) of its centre [pixels].
    radius
        Radius of a circle of its largest area [square pixels].
    pixel_size_mm
        Distance of pixels along (y, x) [mm].
    """

    centre: tuple[float, float]
    radius: float
    pixel_size_mm: tuple[float, float]

    @property
    def square_mm(self) -> float:
        """Side of a square pixel of the same area [mm]."""
        return math.sqrt(self.pixel_size_mm[0] * self.pixel_size_mm[1])

    @property
    def steps(self) -> tuple[float, float]:
        """Distance of pixels along (y, x) [square pixels]; 1 if pixels are square."""
        return steps_of(self.pixel_size_mm)

    def offset(self, y: NDArray[Any], x: NDArray[Any]) -> tuple[Array, Array]:
        """Offset of pixels from the centre along y and along x [square pixels]."""
        (cy, cx), (sy, sx) = self.centre, self.steps
        return (y - cy) * sy, (x - cx) * sx


@dataclass(frozen=True, eq=False)
class Ventricle:
    """The left ventricle of a reference.

    Attributes
    ----------
    seed
        Location of the ventricle.
    masks
        ``(frames, y, x)`` bool, the blood pool in the reference.
    sharpness
        Sharpness of the border at the largest and the smallest area [1/mm].
    """

    seed: Seed
    masks: Mask
    sharpness: tuple[float, float]

    @property
    def extreme_frames(self) -> tuple[int, int]:
        """Frames of the largest and the smallest area."""
        areas = self.masks.sum((1, 2))
        return int(areas.argmax()), int(areas.argmin())


def locate_ventricle(
    reference: Tensor, pixel_size_mm: tuple[float, float], heart: Heart | None = None
) -> Ventricle | None:
    """Locate and segment the left ventricle of a reference ``(frames, y, x)``; parameters as in `find_ventricle`."""
    seed = find_ventricle(reference, pixel_size_mm, heart)
    if seed is None:
        return None
    ventricle = Ventricle(seed, segment(reference, seed), (math.nan, math.nan))
    d, s = (border_sharpness(reference[frame], ventricle.masks[frame], seed) for frame in ventricle.extreme_frames)
    return replace(ventricle, sharpness=(d, s))


def areas_mm2(masks: Mask, seed: Seed) -> tuple[float, ...]:
    """Area of each frame [mm^2] of masks ``(frames, y, x)``."""
    pixel = seed.pixel_size_mm[0] * seed.pixel_size_mm[1]
    return tuple(float(n) * pixel for n in masks.sum((1, 2)))


def relative_sharpness(image: Tensor, ventricle: Ventricle) -> float:
    """Sharpness of the border in ``(frames, y, x)`` relative to the reference; 1 is ideal, NaN if no edge is found.

    The border is that of the reference in its frames of largest and smallest area; the mean of both is returned.
    """
    ratios = [
        border_sharpness(image[frame], ventricle.masks[frame], ventricle.seed) / sharpness
        for frame, sharpness in zip(ventricle.extreme_frames, ventricle.sharpness, strict=True)
    ]
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    return sum(known) / len(known) if known else math.nan


def find_ventricle(reference: Tensor, pixel_size_mm: tuple[float, float], heart: Heart | None = None) -> Seed | None:
    """Locate the left ventricle in a short-axis series ``(frames, y, x)``; None if none is found.

    1. In each frame, Otsu's threshold separates blood from other tissue in the box around the motion of the heart.
    2. Regions of the first frame, of diastole and of systole are candidates; each is segmented in all frames.
    3. Candidates are kept if they are round, have the size of a ventricle, are enclosed by darker muscle, contain a
       sufficient part of the motion of the heart, and change their area smoothly by at least `MIN_CHANGE`. The score
       of a candidate is the product of its change, roundness, squared enclosure and the root of its radius.

    Parameters
    ----------
    reference
        ``(frames, y, x)``
    pixel_size_mm
        Distance of pixels along (y, x) [mm].
    heart
        Location of the heart in the reference; None means that it is searched here.
    """
    from scipy import ndimage

    heart = heart or find_heart(reference, pixel_size_mm)
    if heart is None:
        return None
    magnitude = reference.abs().double().cpu().numpy()
    top, bottom, left, right = heart.box
    inside = np.zeros(magnitude.shape[1:], bool)
    inside[top:bottom, left:right] = True
    blood_threshold, _ = otsu(magnitude[:, inside].ravel())
    motion = motion_of(magnitude)
    power = motion**2 * locate_motion(motion, steps=steps_of(pixel_size_mm))[2]
    best, best_score = None, 0.0
    tried: list[Seed] = []
    for frame in dict.fromkeys((0, heart.diastole, heart.systole)):
        for factor in THRESHOLDS:
            blood = (magnitude[frame] > factor * blood_threshold) & inside
            labels, n = ndimage.label(ndimage.binary_opening(blood, iterations=2))
            for label in range(1, n + 1):
                seed = _seed_of(labels == label, pixel_size_mm)
                if seed is None or any(_is_duplicate(seed, other) for other in tried):
                    continue
                tried.append(seed)
                score = _quality(reference, seed, power / power.sum())
                if score > best_score:
                    best, best_score = seed, score
    return best


def _is_duplicate(a: Seed, b: Seed) -> bool:
    shift = math.hypot(*a.offset(*map(np.asarray, b.centre)))
    return shift < 0.15 * a.radius and abs(a.radius - b.radius) < 0.15 * a.radius


def _seed_of(region: Mask, pixel_size_mm: tuple[float, float]) -> Seed | None:
    """The seed of a region if its shape is round and its size is plausible; otherwise None."""
    from scipy import ndimage

    region = ndimage.binary_fill_holes(region)
    area = float(region.sum())
    y, x = ndimage.center_of_mass(region) if area else (0.0, 0.0)
    seed = Seed((y, x), math.sqrt(area / math.pi), pixel_size_mm)
    if not MIN_RADIUS_MM <= seed.radius * seed.square_mm <= MAX_RADIUS_MM:
        return None
    return seed if _roundness(region, seed) >= MIN_ROUNDNESS and region[round(y), round(x)] else None


def _roundness(region: Mask, seed: Seed) -> float:
    rows, columns = region.nonzero()
    distance = np.hypot(*seed.offset(rows, columns))
    return float(len(rows) / (math.pi * max(np.quantile(distance, 0.95), 0.5) ** 2))


def _enclosure(frame: Array, mask: Mask, seed: Seed) -> float:
    """Fraction of the directions in which darker muscle follows the border within `MUSCLE_MM`."""
    from scipy import ndimage

    blood = float(frame[mask].mean())
    distance = ndimage.distance_transform_edt(~mask, sampling=seed.steps)
    y, x = seed.offset(*np.indices(mask.shape))
    ring = (distance > 0) & (distance <= MUSCLE_MM / seed.square_mm)
    sector = (np.arctan2(y, x) / (2 * np.pi) * N_SECTORS).astype(int) % N_SECTORS
    darkest = np.full(N_SECTORS, np.inf)
    np.minimum.at(darkest, sector[ring], frame[ring])
    return float((darkest < DARK_FRACTION * blood).mean())


def _quality(reference: Tensor, seed: Seed, motion: Array) -> float:
    """Score of a region, segmented in all frames, as a ventricle; 0 if it is not a ventricle.

    Parameters
    ----------
    reference
        ``(frames, y, x)``
    seed
        The region.
    motion
        ``(y, x)`` fraction of the motion of the heart in each pixel.
    """
    masks = segment(reference, seed)
    magnitude = reference.abs().double().cpu().numpy()
    areas = masks.sum((1, 2)).astype(float)
    if not areas.min() > 0:
        return 0.0
    change = 1 - areas.min() / areas.max()
    jump, max_jump = np.abs(np.diff(areas, append=areas[:1])).max() / areas.max(), max(MAX_JUMP, MAX_RATE / len(areas))
    roundness = float(np.mean([_roundness(mask, seed) for mask in masks]))
    power = np.abs(np.fft.rfft(areas)[1:]) ** 2
    is_regular = power[0] >= 0.5 * power.sum()
    frames = (int(areas.argmax()), int(areas.argmin()))
    enclosure = min(_enclosure(magnitude[frame], masks[frame], seed) for frame in frames)
    is_ventricle = change >= MIN_CHANGE and jump <= max_jump and roundness >= MIN_ROUNDNESS and is_regular
    is_ventricle = is_ventricle and enclosure >= MIN_ENCLOSURE
    is_ventricle = is_ventricle and float(motion[masks.any(0)].sum()) >= MIN_MOTION_SHARE
    return change * roundness * enclosure**2 * math.sqrt(seed.radius) if is_ventricle else 0.0


def segment(image: Tensor, seed: Seed) -> Mask:
    """Blood pool of each frame ``(frames, y, x)`` bool of a series ``(frames, y, x)``, with the threshold of the
    series.

    In a disc around the seed, Otsu's threshold of all frames together separates blood from muscle. In each frame, the
    component nearest to the centre is selected and thin bridges are removed; its convex hull includes papillary
    muscles.
    """
    box = _box(seed, image.shape[-2:])
    magnitude = image[..., *box].abs().double().cpu().numpy()
    distance = np.hypot(*seed.offset(*np.mgrid[box]))
    disc = distance <= SEARCH_RADIUS_RATIO * seed.radius
    threshold, _ = otsu(magnitude[:, disc].ravel())
    masks = np.zeros(tuple(image.shape), bool)
    for mask, frame in zip(masks, magnitude, strict=True):
        mask[box] = _blood((frame > threshold) & disc, distance, seed.radius) & disc
    return masks


def _box(seed: Seed, matrix: Sequence[int]) -> tuple[slice, slice]:
    """The part of an image that contains the disc around the seed."""
    reach = SEARCH_RADIUS_RATIO * seed.radius + 1
    y, x = (
        slice(max(0, math.floor(middle - reach / step)), min(size, math.ceil(middle + reach / step) + 1))
        for middle, step, size in zip(seed.centre, seed.steps, matrix, strict=True)
    )
    return y, x


def _blood(blood: Mask, distance: Array, radius: float) -> Mask:
    """Convex hull of the component of blood ``(y, x)`` at the centre, without thin bridges to other components."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(2, 1)
    n_erosions = max(1, round(radius / 10))
    core, n = ndimage.label(ndimage.binary_erosion(blood, cross, n_erosions))
    if n == 0:
        core, n = ndimage.label(blood)
    if n == 0:
        return blood
    nearest = min(range(1, n + 1), key=lambda label: _reach(core == label, distance, radius))
    grown = ndimage.binary_dilation(core == nearest, cross, n_erosions + 1) & blood
    return _hull(grown)


def _reach(region: Mask, distance: Array, radius: float) -> float:
    """Rank of a component: its distance from the centre, reduced for large components."""
    return float(distance[region].min() - radius * min(1.0, math.sqrt(region.sum() / (math.pi * radius**2))))


def _hull(region: Mask) -> Mask:
    """The convex hull of a region; a region without extent is unchanged."""
    from scipy.spatial import ConvexHull, QhullError

    rows = np.flatnonzero(region.any(1))
    first, last = region[rows].argmax(1), region.shape[1] - 1 - region[rows, ::-1].argmax(1)
    try:
        sides = ConvexHull(np.concatenate([np.stack([rows, ends], 1) for ends in (first, last)])).equations
    except (QhullError, ValueError):
        return region
    hull = np.zeros_like(region)
    box = np.ix_(np.arange(rows[0], rows[-1] + 1), np.arange(first.min(), last.max() + 1))
    distances = (sides[:, 0] * box[0][..., None]) + (sides[:, 1] * box[1][..., None]) + sides[:, 2]
    hull[box] = (distances <= 1e-6).all(-1)
    return hull


def border_sharpness(image: Tensor, mask: Mask, seed: Seed) -> float:
    """Sharpness of the border of blood in one frame ``(y, x)`` [1/mm]; NaN if no edge is found.

    Along rays from the centre of the mask, the magnitude falls from blood to muscle. The sharpness is the median over
    rays of the inverse distance over which it falls from 80 % to 20 % of this step.
    """
    from scipy import ndimage

    magnitude = image.abs().double().cpu().numpy()
    if not mask.any():
        return math.nan
    centre = ndimage.center_of_mass(mask)
    margin = BORDER_MM / seed.square_mm
    falls = []
    for angle in np.linspace(0, 2 * np.pi, N_RAYS, endpoint=False):
        direction = (math.sin(angle) / seed.steps[0], math.cos(angle) / seed.steps[1])
        border = _border_distance(mask, centre, direction)
        distance = np.arange(max(0.0, border - margin), border + margin, RAY_STEP)
        points = [c + d * distance for c, d in zip(centre, direction, strict=True)]
        profile = ndimage.map_coordinates(magnitude, points, order=1, mode="nearest")
        falls.append(_fall(profile) * seed.square_mm)
    known = [fall for fall in falls if not math.isnan(fall)]
    return float(1 / np.median(known)) if len(known) >= N_RAYS // 3 else math.nan


def _border_distance(mask: Mask, centre: tuple[float, float], direction: tuple[float, float]) -> float:
    """Distance from the centre at which a ray leaves the mask for the last time [square pixels]."""
    distance = np.arange(0, sum(mask.shape), RAY_STEP)
    y, x = (np.round(c + d * distance).astype(int) for c, d in zip(centre, direction, strict=True))
    inside = (y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1])
    inside[inside] = mask[y[inside], x[inside]]
    return float(distance[inside].max(initial=0.0)) + RAY_STEP / 2


def _fall(profile: Array) -> float:
    """Distance over which the steepest fall of a profile decreases from 80 % to 20 % [square pixels]; or NaN."""
    steepest = int(np.diff(profile).argmin())
    high = steepest
    while high > 0 and profile[high - 1] > profile[high]:
        high -= 1
    low = steepest + 1
    while low < len(profile) - 1 and profile[low + 1] < profile[low]:
        low += 1
    step = profile[high] - profile[low]
    if not step > MIN_STEP * profile[high]:
        return math.nan
    part = (profile[high : low + 1] - profile[low]) / step  # falls from 1 to 0
    positions = np.interp([0.2, 0.8], part[::-1], np.arange(len(part))[::-1])
    return float(positions[0] - positions[1]) * RAY_STEP
