"""Where the heart beats, drawn from the truth: a box around it, and the pool of blood that fills and empties."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

MOVING = 0.3
"""Share of the largest temporal spread from which on a pixel counts as moving."""
LARGEST_SHARE = 0.3
"""Of the field: where more of it moves, it is not the heart alone."""
SMALLEST_CHANGE = 0.05
"""Of the area from its largest: where it changes less, nothing that beats was found."""
MARGIN = 0.25
"""Of the moving region's size, added to the box on each side, so that the walls are in it."""
SMALLEST_BOX = 24
"""Pixels, so that SSIM has windows."""


@dataclass(frozen=True, eq=False)
class Heart:
    """What moves in a cine, and the blood in it.

    Attributes
    ----------
    box
        (first y, last y, first x, last x), last not included.
    region
        ``(y, x)`` bool, the moving pixels and the pool that they bound.
    threshold
        Magnitude from which on a pixel of the region is blood.
    diastole, systole
        Frames with the largest and the smallest pool.
    column
        Image column through the middle of the motion.
    """

    box: tuple[int, int, int, int]
    region: Tensor
    threshold: float
    diastole: int
    systole: int
    column: int

    def crop(self, image: Tensor) -> Tensor:
        """The box of an image series ``(..., y, x)``."""
        top, bottom, left, right = self.box
        return image[..., top:bottom, left:right]

    def pool_areas(self, image: Tensor) -> Tensor:
        """Pixels of blood in each frame ``(frames,)`` of a series ``(frames, y, x)``.

        A pixel counts in part where its magnitude lies within a fifth of the threshold, so that an edge that moves by
        less than a pixel is seen.
        """
        magnitude = image.abs().double()
        parts = ((magnitude / self.threshold - 0.8) / 0.4).clamp(0, 1)
        return (parts * self.region.to(image.device)).sum((-2, -1))


def find_heart(reference: Tensor) -> Heart | None:
    """Find the heart in a series ``(frames, y, x)`` of known truth; None where nothing in it beats like one.

    1. Temporal standard deviation of the magnitude, smoothed over a fortieth of the field; the largest connected part
       above `MOVING` of its maximum, its holes filled, is the region: in cine, it is the blood pool and its walls.
    2. Otsu's threshold between the two kinds of pixels in that region, over all frames, tells blood from muscle.
    3. The pool is largest at diastole and smallest at systole.

    It judges images, it does not measure hearts: both ventricles and whatever else moves with them may be in it.
    """
    from scipy import ndimage

    magnitude = reference.abs().double().cpu().numpy()
    spread = ndimage.gaussian_filter(magnitude.std(axis=0), max(1.0, min(magnitude.shape[1:]) / 40))
    if len(magnitude) < 2 or not spread.max() > 0:
        return None
    parts, n_parts = ndimage.label(spread >= MOVING * spread.max())
    sums = ndimage.sum_labels(spread, parts, np.arange(1, n_parts + 1))
    region = ndimage.binary_fill_holes(parts == 1 + int(np.argmax(sums)))
    if region.mean() > LARGEST_SHARE:
        return None
    weights = spread * region
    threshold = _otsu(magnitude[:, region].ravel())
    if not threshold > 0:
        return None
    column = round(float(weights.sum(axis=0) @ np.arange(weights.shape[1]) / weights.sum()))
    found = Heart(_box(region), torch.from_numpy(region), threshold, 0, 0, column)
    areas = found.pool_areas(reference)
    if float(areas.max() - areas.min()) < SMALLEST_CHANGE * float(areas.max()):
        return None
    return Heart(found.box, found.region, threshold, int(areas.argmax()), int(areas.argmin()), column)


def _box(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    edges: list[int] = []
    for axis in (0, 1):
        inside = np.flatnonzero(region.any(axis=1 - axis))
        first, last, n = int(inside[0]), int(inside[-1]) + 1, region.shape[axis]
        size = min(n, max(SMALLEST_BOX, round((last - first) * (1 + 2 * MARGIN))))
        first = min(max(0, (first + last - size) // 2), n - size)
        edges += [first, first + size]
    return edges[0], edges[1], edges[2], edges[3]


def _otsu(values: Array, n_bins: int = 128) -> float:
    """The threshold that separates two classes best: the largest variance between them.

    References
    ----------
    Otsu, A threshold selection method from gray-level histograms (1979), DOI 10.1109/TSMC.1979.4310076
    """
    counts, edges = np.histogram(values, n_bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
    between = np.nan_to_num(below * above * gap**2)
    return float(edges[1 + int(np.argmax(between))])
