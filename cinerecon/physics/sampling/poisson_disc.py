"""Variable-density Poisson disc sampling: random, but no sample is in the disc of an earlier one.

Dart throwing: points in random order are taken unless they are in the disc around a sample, whose radius grows with the
distance from the centre of k-space. The form of the radius is that of Dwork et al. 2021, 10.1016/j.mri.2020.11.012; for
such patterns in MRI see Lustig and Pauly 2010, SPIRiT, 10.1002/mrm.22428. Each frame has exactly the requested number
of samples: where no free point is left, all discs shrink (relaxation dart throwing, McCool and Fiume, Hierarchical
Poisson disk sampling distributions, Graphics Interface 1992).
"""

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from cinerecon.physics.sampling.drawing import Flags, MaskRequest, make_rng, uniform_numbers
from cinerecon.physics.sampling.golden_ratio import around_centre, outside_centre

CENTRE_RADIUS_OF_LINES = 0.5
"""Radius in the centre of k-space over its increase from there to the border, for lines: 4 in density."""
CENTRE_RADIUS_OF_POINTS = 0.15
"""The same for points, as in Dwork et al."""
RADIUS_STEP = 0.25
"""Radii of points are rounded down to multiples of this, in points."""
SHRINKING = 0.95
"""Factor of all radii where no free point is left."""


def poisson_lines(rng: Generator, request: MaskRequest) -> Flags:
    """Lines ``(frames, ky)`` by Poisson discs on the ky-t grid; round(ky / R) lines, the centre among them.

    The distance of two frames counts as that of two lines, and the first frame follows the last.
    """
    n_drawn, ky = outside_centre(request)
    n_frames = request.n_frames
    mask = np.zeros((n_frames, ky), dtype=bool)
    n_left = np.full(n_frames, n_drawn)
    radius = np.abs(np.arange(ky) - ky // 2) / max(ky / 2, 1) + CENTRE_RADIUS_OF_LINES
    apart = (np.arange(n_frames) + n_frames // 2) % n_frames - n_frames // 2
    relative = np.full((n_frames, ky), np.inf)  # squared distance to a sample over its squared radius, the least of all
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
    """Points ``(frames, ky, kx)`` by Poisson discs on the ky-kx grid, each frame by itself; round(ky kx / R) points."""
    shape = (request.ky, request.kx)
    count = max(round(request.ky * request.kx / request.acceleration), 1)
    too_large = scale_without_space(shape, count)
    masks = np.zeros((request.n_frames, *shape), dtype=bool)
    for mask in masks:
        scale = too_large
        while throw_darts(rng, mask, scale, count) < count:
            scale *= SHRINKING
    return masks


@lru_cache(maxsize=32)
def scale_without_space(shape: tuple[int, int], count: int) -> float:
    """A scale of the radii at which almost `count` points fit; at a scale lower by a factor of `SHRINKING`, all fit."""
    scale = float(max(shape))
    while throw_darts(make_rng(0), np.zeros(shape, dtype=bool), scale * SHRINKING, count) < count:
        scale *= SHRINKING
    return scale


def throw_darts(rng: Generator, mask: Flags, scale: float, count: int) -> int:
    """Add points to a mask ``(ky, kx)`` in random order, outside the discs of its samples, until it has `count`.

    Returns
    -------
    int
        The count of samples, less than `count` if no free point is left.
    """
    y, x = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in mask.shape)
    radius = scale * (np.sqrt(y[:, None] ** 2 + x**2) + CENTRE_RADIUS_OF_POINTS)
    step = np.floor(radius / RADIUS_STEP).astype(int)
    discs = [disc(RADIUS_STEP * number) for number in range(int(step.max()) + 1)]
    margin = len(discs[-1]) // 2
    blocked = np.zeros([n + 2 * margin for n in mask.shape], dtype=bool)

    def block(row: int, column: int) -> None:
        stencil = discs[step[row, column]]
        top, left = row + margin - len(stencil) // 2, column + margin - len(stencil) // 2
        blocked[top : top + len(stencil), left : left + len(stencil)] |= stencil

    n_samples = 0
    for row, column in np.argwhere(mask):
        block(row, column)
        n_samples += 1
    order = uniform_numbers(rng, mask.size).argsort(kind="stable")
    rows, columns = (index.tolist() for index in np.unravel_index(order, mask.shape))
    for row, column in zip(rows, columns, strict=True):
        if n_samples == count:
            break
        if not blocked[row + margin, column + margin]:
            mask[row, column] = True
            block(row, column)
            n_samples += 1
    return n_samples


@lru_cache(maxsize=1024)
def disc(radius: float) -> Flags:
    """Points less than a radius away from the middle one, and that one, ``(n, n)``, n odd."""
    reach = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    stencil: Flags = reach[:, None] ** 2 + reach**2 < max(radius**2, 0.5)
    return stencil
