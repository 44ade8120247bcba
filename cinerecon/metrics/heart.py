"""Where the heart beats, found in the truth: a box around it, and the ventricle that fills and empties."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

WIDEST = 0.25
"""Of the field, standard deviation of where it beats: where it beats everywhere alike, that is noise."""
FAR, NEAR = 3.0, 2.5
"""Standard deviations from the middle of the beat beyond which pixels are left out, of the heart, of the ventricle."""
HALF_BOX, LARGEST_HALF = 2.5, 0.35
"""Half the box in standard deviations of the beat; at most this share of the field."""
SMALLEST_BOX = 24
"""Pixels, so that SSIM has windows."""
MOVING = 0.3
"""Share of the strongest beat from which on a pixel is the ventricle's."""
SEPARABILITY, REGULARITY, SMALLEST_CHANGE = 0.7, 0.75, 0.2
"""A pool has been found where blood and muscle are two classes, its area follows one beat, and changes so much."""


@dataclass(frozen=True, eq=False)
class Pool:
    """The blood of a ventricle cut across.

    Attributes
    ----------
    region
        ``(y, x)`` bool, where it fills and empties.
    threshold
        Magnitude from which on a pixel of the region is blood.
    """

    region: Tensor
    threshold: float

    def areas(self, image: Tensor) -> Tensor:
        """Pixels of blood in each frame ``(frames,)`` of a series ``(frames, y, x)``.

        A pixel counts in part where its magnitude lies within a fifth of the threshold, so that an edge that moves by
        less than a pixel is seen.
        """
        magnitude = image.abs().double()
        parts = ((magnitude / self.threshold - 0.8) / 0.4).clamp(0, 1)
        return (parts * self.region.to(image.device)).sum((-2, -1))


@dataclass(frozen=True, eq=False)
class Heart:
    """What beats in a cine.

    Attributes
    ----------
    box
        (first y, last y, first x, last x), last not included.
    column
        Image column through the middle of the beat.
    diastole, systole
        Frames with the largest and the smallest pool; without a pool, the first frame, where gated scans begin with
        diastole, and the frame that differs most from it in the box.
    pool
        The ventricle's blood; None where it cannot be told from the rest, as in most long-axis views.
    """

    box: tuple[int, int, int, int]
    column: int
    diastole: int
    systole: int
    pool: Pool | None = None

    def crop(self, image: Tensor) -> Tensor:
        """The box of an image series ``(..., y, x)``."""
        top, bottom, left, right = self.box
        return image[..., top:bottom, left:right]


def find_heart(reference: Tensor) -> Heart | None:
    """Find the heart in a series ``(frames, y, x)`` of known truth; None where nothing in it beats like one.

    1. The first harmonic over time, one beat, shows what beats; its magnitude is smoothed and squared to weights.
    2. Their centre and standard deviation are found anew without pixels that are far away, until nothing changes: so
       neither vessels nor the chest wall count. They make the box.
    3. Near the centre, the pixels that beat strongly are the ventricle's; Otsu's threshold tells blood from muscle.
    4. It is a pool if the two are well separated and the area of blood goes up and down once a beat.

    It serves to compare images; it does not measure hearts.

    References
    ----------
    Lin et al., Automated detection of left ventricle in 4D MR images, MICCAI 2006, for step 1;
    Otsu, A threshold selection method from gray-level histograms (1979), DOI 10.1109/TSMC.1979.4310076
    """
    from scipy import ndimage

    magnitude = reference.abs().double().cpu().numpy()
    n_frames, y, x = magnitude.shape
    if n_frames < 2:
        return None
    beat = ndimage.gaussian_filter(np.abs(np.fft.fft(magnitude, axis=0)[1]), min(y, x) / 60)
    if not beat.max() > 1e-9 * magnitude.max() * n_frames:
        return None
    centre, deviation, _ = _locate(beat, FAR)
    if deviation > WIDEST * min(y, x):
        return None
    half = max(SMALLEST_BOX / 2, min(HALF_BOX * deviation, LARGEST_HALF * min(y, x)))
    edges = [_interval(middle, half, size) for middle, size in zip(centre, (y, x), strict=True)]
    box, column = (*edges[0], *edges[1]), min(x - 1, round(centre[1]))
    pool = _find_pool(magnitude, beat)
    if pool is not None:
        areas = pool.areas(reference)
        return Heart(box, column, int(areas.argmax()), int(areas.argmin()), pool)
    inside = magnitude[:, box[0] : box[1], box[2] : box[3]]
    return Heart(box, column, 0, int(((inside - inside[0]) ** 2).sum((1, 2)).argmax()))


def _locate(beat: Array, reach: float) -> tuple[tuple[float, float], float, NDArray[np.bool_]]:
    """Centre (y, x) and standard deviation of the beat, and the pixels within ``reach`` deviations of the centre."""
    rows, columns = np.mgrid[: beat.shape[0], : beat.shape[1]]
    near = np.ones(beat.shape, bool)
    while True:
        weights = beat**2 * near
        total = weights.sum()
        y, x = float((weights * rows).sum() / total), float((weights * columns).sum() / total)
        squared = (rows - y) ** 2 + (columns - x) ** 2
        deviation = float(np.sqrt((weights * squared).sum() / total / 2))
        nearer = near & (squared < max(reach * deviation, 2.0) ** 2)
        if (nearer == near).all():
            return (y, x), deviation, near
        near = nearer


def _find_pool(magnitude: Array, beat: Array) -> Pool | None:
    from scipy import ndimage

    _, _, near = _locate(beat, NEAR)
    strong = near & (beat >= MOVING * beat[near].max())
    region = ndimage.binary_fill_holes(ndimage.binary_closing(strong, iterations=2))
    threshold, separability = _otsu(magnitude[:, region].ravel())
    if not threshold > 0 or separability < SEPARABILITY:
        return None
    pool = Pool(torch.from_numpy(region), threshold)
    areas = pool.areas(torch.from_numpy(magnitude)).numpy()
    power = np.abs(np.fft.rfft(areas)[1:]) ** 2
    is_regular = power[0] >= REGULARITY * power.sum()
    changes = areas.max() - areas.min() >= SMALLEST_CHANGE * areas.max()
    return pool if is_regular and changes else None


def _interval(middle: float, half: float, size: int) -> tuple[int, int]:
    """First and last pixel around the middle, shifted to lie in the field."""
    length = min(size, round(2 * half))
    first = min(max(0, round(middle - length / 2)), size - length)
    return first, first + length


def _otsu(values: Array, n_bins: int = 128) -> tuple[float, float]:
    """The threshold between two classes, and the share of the variance that lies between them."""
    counts, edges = np.histogram(values, n_bins)
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
