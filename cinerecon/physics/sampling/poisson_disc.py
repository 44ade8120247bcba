"""Variable-density Poisson disc sampling: random samples that are not in the disc of an earlier sample.

The method is dart throwing: points in random order are accepted unless they are in the disc around a sample, whose
radius increases with the distance from the centre of k-space. The form of the radius is that of Dwork et al. 2021,
10.1016/j.mri.2020.11.012; for such patterns in MRI see Lustig and Pauly 2010, SPIRiT, 10.1002/mrm.22428. Each frame has
exactly the requested number of samples: if no free point remains, all discs shrink (relaxation dart throwing, McCool
and Fiume, Hierarchical Poisson disk sampling distributions, Graphics Interface 1992).
"""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.physics.sampling.drawing import Flags, MaskRequest, around_centre, make_rng, uniform_numbers

CENTRE_RADIUS_OF_LINES = 0.5
"""Radius in the centre of k-space over its increase from the centre to the border, for lines; 4 in density."""
CENTRE_RADIUS_OF_POINTS = 0.15
"""The same for points, as in Dwork et al."""
RADIUS_STEP = 0.25
"""Radii of points are rounded down to multiples of this, in points."""
SHRINKING = 0.95
"""Factor on all radii if no free point remains."""
N_PARTS = 64
"""Number of parts of the points; blocked points, which are the majority, are removed from each part together."""

Indices = NDArray[np.int64]


def poisson_lines(rng: Generator, request: MaskRequest) -> Flags:
    """Lines ``(frames, ky)`` by Poisson discs on the ky-t grid; round(ky / R) lines, including the centre.

    The distance of two frames equals that of two lines, and the first frame follows the last.
    """
    n_frames, ky = request.n_frames, request.ky - request.n_acs
    mask = np.zeros((n_frames, ky), dtype=bool)
    n_left = np.full(n_frames, request.n_drawn)
    radius = np.abs(np.arange(ky) - ky // 2) / max(ky / 2, 1) + CENTRE_RADIUS_OF_LINES
    apart = (np.arange(n_frames) + n_frames // 2) % n_frames - n_frames // 2
    relative = np.full((n_frames, ky), np.inf)  # smallest squared distance to a sample over its squared radius
    order = uniform_numbers(rng, n_frames * ky).argsort(kind="stable")
    scale = float(ky + n_frames)
    while n_left.any():
        for frame, line in zip(*np.divmod(order[relative.ravel()[order] >= scale**2], ky), strict=True):
            if n_left[frame] and relative[frame, line] >= scale**2:
                mask[frame, line] = True
                n_left[frame] -= 1
                squared = np.roll(apart, frame)[:, None] ** 2 + (np.arange(ky) - line) ** 2
                relative = np.minimum(relative, squared / radius[line] ** 2)
        scale *= SHRINKING
    return around_centre(mask, request)


def poisson_points(rng: Generator, request: MaskRequest) -> Flags:
    """Points ``(frames, ky, kx)`` by Poisson discs on the ky-kx grid, frame by frame; round(ky kx / R) points."""
    shape = (request.ky, request.kx)
    count = max(round(request.ky * request.kx / request.acceleration), 1)
    too_large = scale_without_space(shape, count)
    masks = np.zeros((request.n_frames, *shape), dtype=bool)
    for mask in masks:
        scale = too_large
        while throw_darts(_random_order(rng, mask.size), mask, scale, count) < count:
            scale *= SHRINKING
    return masks


@lru_cache(maxsize=32)
def scale_without_space(shape: tuple[int, int], count: int) -> float:
    """A scale of the radii for which almost `count` points fit; reduced by a factor of `SHRINKING`, all fit."""
    scale, order = float(max(shape)), _random_order(make_rng(0), shape[0] * shape[1])
    while throw_darts(order, np.zeros(shape, dtype=bool), scale * SHRINKING, count) < count:
        scale *= SHRINKING
    return scale


def _random_order(rng: Generator, n: int) -> Indices:
    return uniform_numbers(rng, n).argsort(kind="stable")


def throw_darts(order: Indices, mask: Flags, scale: float, count: int) -> int:
    """Add points to a mask ``(ky, kx)`` in an order, outside the discs of its samples, until it has `count`.

    Returns
    -------
    int
        The number of samples, less than `count` if no free point remains.
    """
    y, x = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in mask.shape)
    radius = scale * (np.sqrt(y[:, None] ** 2 + x**2) + CENTRE_RADIUS_OF_POINTS)
    step = np.floor(radius / RADIUS_STEP).astype(int)
    margin = len(disc(RADIUS_STEP * int(step.max()))) // 2
    blocked = np.zeros([n + 2 * margin for n in mask.shape], dtype=bool)
    inside = blocked[margin : margin + mask.shape[0], margin : margin + mask.shape[1]]
    steps = step.tolist()

    def block(row: int, column: int) -> None:
        stencil = disc(RADIUS_STEP * steps[row][column])
        n = len(stencil)
        top, left = row + margin - n // 2, column + margin - n // 2
        part = blocked[top : top + n, left : left + n]
        np.logical_or(part, stencil, out=part)

    for number in np.unique(step[mask]):  # all discs of one size together
        stencil = disc(RADIUS_STEP * int(number))
        rows, columns = np.nonzero(mask & (step == number))
        dy, dx = np.nonzero(stencil)
        shift = margin - len(stencil) // 2
        blocked[rows[:, None] + dy + shift, columns[:, None] + dx + shift] = True
    n_samples = int(mask.sum())
    for points in np.array_split(order, N_PARTS):
        rows, columns = np.divmod(points, mask.shape[1])
        is_free = ~inside[rows, columns]
        for row, column in zip(rows[is_free].tolist(), columns[is_free].tolist(), strict=True):
            if n_samples == count:
                return count
            if not inside[row, column]:
                mask[row, column] = True
                block(row, column)
                n_samples += 1
    return n_samples


@lru_cache(maxsize=1024)
def disc(radius: float) -> Flags:
    """Points less than a radius away from the central point, including it, ``(n, n)``, n odd."""
    reach = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    stencil: Flags = reach[:, None] ** 2 + reach**2 < max(radius**2, 0.5)
    return stencil
