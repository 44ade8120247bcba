"""Images turned by their directions as those of the truth are: programs store rows and columns in different orders."""

from dataclasses import replace

import numpy as np

from cinerecon.cine_meta import Geometry
from cinerecon.evaluation.image_files import ImageSeries

PARALLEL_COSINE = 0.98
"""Cosine of the angle between directions of which one counts as along the other."""


def turned_like(series: ImageSeries, truth: Geometry | None) -> ImageSeries:
    """The images with rows and columns exchanged and reversed so that they run as those of the truth.

    Where a direction is unknown, or is along none of the truth, images are returned as they are.
    """
    own = series.geometry
    if own is None or truth is None:
        return series
    rows = np.array([own.phase_dir, own.read_dir]), np.array([truth.phase_dir, truth.read_dir])
    directions = [axes / np.linalg.norm(axes, axis=1, keepdims=True) for axes in rows]
    cosines = directions[0] @ directions[1].T  # (y, x) of the images, (y, x) of the truth
    is_along = np.abs(cosines) > PARALLEL_COSINE
    if (is_along.sum(0) != 1).any() or (is_along.sum(1) != 1).any():
        return series
    is_swapped, pixel_mm = bool(is_along[0, 1]), series.pixel_size_mm
    image = series.image.transpose(-2, -1) if is_swapped else series.image
    signs = np.where(is_along, np.sign(cosines), 0).sum(0)  # of the axes (y, x) of the truth
    reversed_axes = [axis for axis, sign in zip((-2, -1), signs, strict=True) if sign < 0]
    image = image.flip(reversed_axes) if reversed_axes else image
    pixel_mm = pixel_mm[::-1] if is_swapped and pixel_mm else pixel_mm
    return replace(series, image=image, pixel_size_mm=pixel_mm)
