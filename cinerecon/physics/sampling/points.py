"""Patterns of single points: which (ky, kx) in which frame, ``(frames, ky, kx)``."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.axes import centre_slice
from cinerecon.physics.sampling.density import vds_density
from cinerecon.physics.sampling.request import Request
from cinerecon.physics.sampling.rng import Flags, Numbers, fractions, scatter

GOLDEN_ANGLE = np.deg2rad(137.5)


def radial(rng: Generator, want: Request) -> Flags:
    """Pseudo-radial spokes at equal angles, turned by a random part of their distance in each frame."""
    shape = (want.ky, want.kx)
    turns = fractions(rng, want.n_frames)
    return np.stack([radial_spokes(shape, round(want.acceleration), float(turn)) for turn in turns])


def radial_spokes(shape: tuple[int, int], n_spokes: int, rotation: float) -> Flags:
    """Pseudo-radial sampling of one frame ``(ky, kx)``: full-diameter spokes on the nearest grid points.

    Lingala et al., k-t SLR, 10.1109/TMI.2010.2100850; the rounding of the JotlasNet program.

    Parameters
    ----------
    shape
        (ky, kx).
    n_spokes
        Spokes at equal angles.
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


def kt_radial(rng: Generator, want: Request) -> Flags:
    """The k-t radial pattern of CMRxRecon 2024: 300 / R spokes, turned by the golden angle in each frame, centre extra.

    Wang et al., 10.1148/ryai.240443: spokes at equal angles over 180 degrees, on a disc that spans the longer side of
    k-space; their centre is a square of `n_acs` points. At 300 / R spokes the net acceleration depends on the matrix.

    Departs from it in: the first angle is random; spokes pass through the centre of k-space, n // 2.
    """
    n_spokes = max(int(180 / (0.6 * want.acceleration)), 1)
    first = fractions(rng, 1) * np.pi
    angles = np.arange(n_spokes) * (np.pi / n_spokes) + first
    reach = max(want.ky, want.kx) // 2
    disc = np.zeros((want.n_frames, 2 * reach + 1, 2 * reach + 1), dtype=bool)
    for number, frame in enumerate(disc):
        frame[_thin_lines(angles + number * GOLDEN_ANGLE, reach)] = True
    top, left = reach - want.ky // 2, reach - want.kx // 2
    mask = disc[:, top : top + want.ky, left : left + want.kx]
    mask[:, centre_slice(want.ky, want.n_acs), centre_slice(want.kx, want.n_acs)] = True
    return mask


def _thin_lines(angles: Numbers, reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points (y, x) of a grid, with its origin at `reach`, less than half a point away from lines through the origin.

    Along the axis that a line is closer to it has one or two such points at each step, on either side of where it is.
    """
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    steep = np.abs(cosine) > np.abs(sine)  # closer to y
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


def vds(rng: Generator, want: Request) -> Flags:
    """Variable-density random points, see `vds_density`; not what a Cartesian scanner can acquire."""
    return scatter(rng, vds_density((want.ky, want.kx), want.acceleration), want.n_frames, want.acceleration)


def uniform(rng: Generator, want: Request) -> Flags:
    """Random points, all alike likely."""
    return scatter(rng, np.ones((want.ky, want.kx)), want.n_frames, want.acceleration)
