"""Patterns of single points (ky, kx) of each frame, ``(frames, ky, kx)``."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.axes import centre_slice
from cinerecon.physics.sampling.drawing import (
    Flags,
    MaskRequest,
    Numbers,
    sample_by_density,
    uniform_numbers,
    vds_density,
)

GOLDEN_ANGLE = np.deg2rad(137.5)


def radial(rng: Generator, request: MaskRequest) -> Flags:
    """Pseudo-radial spokes at equal angles, rotated by a random fraction of their distance in each frame."""
    shape = (request.ky, request.kx)
    rotations = uniform_numbers(rng, request.n_frames)
    return np.stack([radial_spokes(shape, round(request.acceleration), float(rotation)) for rotation in rotations])


def radial_spokes(shape: tuple[int, int], n_spokes: int, rotation: float) -> Flags:
    """Pseudo-radial sampling of one frame ``(ky, kx)``: full-diameter spokes on the nearest grid points.

    Lingala et al., k-t SLR, 10.1109/TMI.2010.2100850, with the rounding of the JotlasNet program.

    Parameters
    ----------
    shape
        (ky, kx).
    n_spokes
        Number of spokes, at equal angles.
    rotation
        Shift of all angles, as a fraction of their distance, in [0, 1).
    """
    ky, kx = shape
    angle = np.arange(n_spokes)[:, None] * (np.pi / n_spokes) + np.pi / n_spokes * rotation
    along_y = np.ceil(np.arange(-ky / 2, ky / 2))
    along_x = np.ceil(np.linspace(-kx / 2, kx / 2, ky + 1))[:-1]
    rows = np.floor(along_y * np.cos(angle)).astype(int) + ky // 2
    columns = np.floor(along_x * np.sin(angle)).astype(int) + kx // 2
    mask = np.zeros(shape, dtype=bool)
    mask[rows % ky, columns % kx] = True
    return mask


def kt_radial(rng: Generator, request: MaskRequest) -> Flags:
    """The k-t radial pattern of CMRxRecon 2024: 300 / R spokes, rotated by the golden angle per frame, and the centre.

    Wang et al., 10.1148/ryai.240443: spokes at equal angles over 180 degrees, on a disc that spans the longer side of
    k-space; their centre is a square of `n_acs` points. At 300 / R spokes the net acceleration depends on the matrix.

    Departs from the paper in: the first angle is random; spokes pass through the centre of k-space, n // 2.
    """
    n_spokes = max(int(180 / (0.6 * request.acceleration)), 1)
    first = uniform_numbers(rng, 1) * np.pi
    angles = np.arange(n_spokes) * (np.pi / n_spokes) + first
    reach = max(request.ky, request.kx) // 2
    disc = np.zeros((request.n_frames, 2 * reach + 1, 2 * reach + 1), dtype=bool)
    for number, frame in enumerate(disc):
        frame[_thin_lines(angles + number * GOLDEN_ANGLE, reach)] = True
    top, left = reach - request.ky // 2, reach - request.kx // 2
    mask = disc[:, top : top + request.ky, left : left + request.kx]
    mask[:, centre_slice(request.ky, request.n_acs), centre_slice(request.kx, request.n_acs)] = True
    return mask


def _thin_lines(angles: Numbers, reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points (y, x) of a grid, with its origin at `reach`, less than half a point away from lines through the origin.

    A line has one or two such points, on either side of it, for each step along the axis closest to its direction.
    """
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    steep = np.abs(cosine) > np.abs(sine)  # direction closer to y
    slope = np.where(steep, sine, cosine) / np.where(steep, cosine, sine)
    step = np.arange(-reach, reach + 1)
    exact = slope * step
    below = np.floor(exact)
    points = []
    for across in (below, below + 1):
        near = (np.abs(across - exact) < 0.5 * np.sqrt(1 + slope**2)) & (across**2 + step**2 <= reach**2)
        line, along = near.nonzero()
        side, across = along, across[near].astype(int) + reach
        points.append((np.where(steep[line, 0], side, across), np.where(steep[line, 0], across, side)))
    (y, x), (other_y, other_x) = points
    return np.concatenate([y, other_y]), np.concatenate([x, other_x])


def vds(rng: Generator, request: MaskRequest) -> Flags:
    """Variable-density random points, see `vds_density`; a Cartesian scanner cannot acquire them."""
    density = vds_density((request.ky, request.kx), request.acceleration)
    return sample_by_density(rng, density, request.n_frames, request.acceleration)


def uniform(rng: Generator, request: MaskRequest) -> Flags:
    """Random points, all equally likely."""
    return sample_by_density(rng, np.ones((request.ky, request.kx)), request.n_frames, request.acceleration)
