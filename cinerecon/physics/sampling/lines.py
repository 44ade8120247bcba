"""Patterns of whole readouts, as a Cartesian scanner acquires them: which ky lines in which frame, ``(frames, ky)``."""

import numpy as np
from numpy.random import Generator

from cinerecon.axes import centre_slice
from cinerecon.errors import ConfigError
from cinerecon.physics.sampling.density import gaussian_density, vds_density, wide_gaussian_density
from cinerecon.physics.sampling.request import Request
from cinerecon.physics.sampling.rng import Flags, choose, fractions, scatter

GOLDEN_RATIO = (5**0.5 - 1) / 2


def full(_: Generator, want: Request) -> Flags:
    """Every line."""
    return np.ones((want.n_frames, want.ky), dtype=bool)


def gaussian(rng: Generator, want: Request) -> Flags:
    """Gaussian variable density, see `gaussian_density`; int(ky / R) lines, the centre among them."""
    n_drawn = want.lines_beside_centre(int(want.ky / want.acceleration))
    mask = choose(rng, gaussian_density(want.ky, want.acceleration, want.n_acs), want.n_frames, n_drawn)
    return with_centre(mask, want.n_acs)


def kt_gaussian(rng: Generator, want: Request) -> Flags:
    """The k-t Gaussian pattern of CMRxRecon 2024: round(ky / R) lines, the centre extra.

    Wang et al., 10.1148/ryai.240443. Departs from it in: lines are drawn without repetition; there, repeated ones are
    moved to free places.
    """
    n_lines = max(round(want.ky / want.acceleration), 1)
    return with_centre(choose(rng, wide_gaussian_density(want.ky), want.n_frames, n_lines), want.n_acs)


def uniform(rng: Generator, want: Request) -> Flags:
    """All lines alike likely; int(ky / R) lines, the centre among them."""
    n_drawn = want.lines_beside_centre(int(want.ky / want.acceleration))
    weights = np.ones(want.ky)
    weights[centre_slice(want.ky, want.n_acs)] = 0
    return with_centre(choose(rng, weights, want.n_frames, n_drawn), want.n_acs)


def vds(rng: Generator, want: Request) -> Flags:
    """Variable-density random lines, see `vds_density`."""
    return scatter(rng, vds_density((want.ky,), want.acceleration), want.n_frames, want.acceleration)


def equispaced(rng: Generator, want: Request) -> Flags:
    """The pattern of fastMRI: every R-th line from a random one on, the centre extra.

    Zbontar et al., arXiv 1811.08839. ``adjusted`` widens the distance of the lines until they and the centre together
    are ky / R. ``shifted`` begins at another line in each frame.

    Raises
    ------
    ConfigError
        If the centre alone has as many lines as an adjusted mask may have.
    """
    distance, stop = want.acceleration, want.ky
    if "adjusted" in want.words:
        if want.n_acs * want.acceleration >= want.ky:
            what = f"{want.n_acs} central lines are {want.ky / want.n_acs:.3g}x already, the adjusted mask cannot be"
            raise ConfigError(f"{what} {want.acceleration:g}x", hint="a smaller acs or acceleration")
        distance = want.acceleration * (want.ky - want.n_acs) / (want.ky - want.n_acs * want.acceleration)
        stop = want.ky - 1  # as in fastMRI, which leaves the last line out here, and here alone
    n_draws = want.n_frames if "shifted" in want.words else 1
    offsets = np.floor(fractions(rng, n_draws) * round(distance)).astype(int)
    lines = [equispaced_lines(want.ky, distance, want.n_acs, int(offset), stop) for offset in offsets]
    return np.broadcast_to(lines, (want.n_frames, want.ky))


def equispaced_lines(ky: int, distance: float, n_acs: int, offset: int, stop: int) -> Flags:
    """Lines at a distance before `stop`, the nearest where that is no whole number, and the centre; ``(ky,)``."""
    mask = np.zeros(ky, dtype=bool)
    mask[np.round(np.arange(offset, stop, distance)).astype(int)] = True
    # for odd ky the centre of fastMRI begins one line later than `centre`
    start = (ky - n_acs + 1) // 2
    mask[start : start + n_acs] = True
    return mask


def kt_equispaced(rng: Generator, want: Request) -> Flags:
    """Equispaced lines that move on by one line from frame to frame, the centre extra.

    Of k-t BLAST and TSENSE; with ``acs=16`` the k-t uniform pattern of CMRxRecon 2024.
    """
    start = np.floor(fractions(rng, 1) * round(want.acceleration)) + np.arange(want.n_frames)
    place = (np.arange(want.ky) - start[:, None]) % want.acceleration
    return with_centre(place < 1, want.n_acs)


def golden(rng: Generator, want: Request) -> Flags:
    """Equispaced lines, denser in the centre, that move on by the golden ratio of their distance from frame to frame.

    The idea of golden ratio offset sampling (Joshi et al., arXiv 2206.03630): as no two frames repeat, any run of
    frames covers k-space evenly. round(ky / R) lines at v in [-1, 1) are stretched to k = (1 - a) v + a v^3, so that
    the centre has (1 + 2a) / (1 - a) times the density of the border: 4 times, or as much as keeps lines apart.

    Departs from the paper in: the stretching is a cubic, and the lines of a frame are not ordered in time.
    """
    n_lines = max(round(want.ky / want.acceleration), 1)
    a = min(0.5, 1 - n_lines / want.ky)
    offset = (fractions(rng, 1) + GOLDEN_RATIO * np.arange(want.n_frames)) % 1
    v = 2 * (np.arange(n_lines) + offset[:, None]) / n_lines - 1
    lines = np.floor((((1 - a) + a * v**2) * v + 1) / 2 * want.ky).astype(int)
    mask = np.zeros((want.n_frames, want.ky), dtype=bool)
    np.put_along_axis(mask, lines.clip(0, want.ky - 1), True, axis=1)
    return with_centre(mask, want.n_acs)


def with_centre(mask: Flags, n_acs: int) -> Flags:
    """The lines ``(frames, ky)`` and the central ones."""
    mask[:, centre_slice(mask.shape[1], n_acs)] = True
    return mask
