"""Reproducible random draws for sampling patterns: the request, random numbers, and sampling densities.

NumPy guarantees the raw integers of a generator across versions and machines, but not its distributions. All draws here
use these integers with multiplication and comparison only. If a density or a logarithm is involved, the last bits may
differ between machines; this changes a mask only in case of a tie, which occurs in one mask in 10^10.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.axes import centre_slice
from cinerecon.errors import ConfigError

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


def require_whole(name: str, value: object, least: int, where: str = "") -> None:
    """Check that a number is whole and not too small.

    Raises
    ------
    ConfigError
        If the number is not whole or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} is {value!r}, expected a whole number of at least {least}", where=where)


@dataclass(frozen=True)
class MaskRequest:
    """Sizes and settings of a mask.

    Attributes
    ----------
    n_frames, ky, kx
        Size of the mask.
    acceleration
        Nominal acceleration; for ``radial`` the number of spokes.
    n_acs
        Number of fully sampled central ky lines.
    flags
        Options without a value, e.g. ``shifted``.
    """

    n_frames: int
    ky: int
    kx: int
    acceleration: float
    n_acs: int
    flags: frozenset[str] = frozenset()

    @property
    def n_lines(self) -> int:
        """Nominal number of lines per frame, round(ky / R), at least 1."""
        return max(round(self.ky / self.acceleration), 1)

    @property
    def n_drawn(self) -> int:
        """Number of lines per frame to draw, if `n_lines` includes the central lines.

        Raises
        ------
        ConfigError
            If there are fewer lines than central lines.
        """
        return self.n_lines_outside_centre(self.n_lines)

    def n_lines_outside_centre(self, n_lines: int) -> int:
        """Number of lines per frame outside the centre, if `n_lines` includes the central ones.

        Raises
        ------
        ConfigError
            If there are too few.
        """
        if n_lines < 1:
            what = f"an acceleration of {self.acceleration:g} leaves none of the {self.ky} lines"
            raise ConfigError(what, hint=f"an acceleration of at most {self.ky}")
        if self.n_acs > n_lines:
            what = f"{n_lines} lines per frame ({self.ky} at {self.acceleration:g}x) cannot hold"
            raise ConfigError(
                f"{what} {self.n_acs} central ones", hint=f"acs={n_lines} or less, or a lower acceleration"
            )
        return n_lines - self.n_acs


def make_rng(seed: int | Generator) -> Generator:
    """A counter-based generator (Philox) with a seed; a given generator is returned unchanged.

    Raises
    ------
    ConfigError
        If the seed is not a whole number of at least 0.
    """
    if not isinstance(seed, Generator):
        require_whole("seed", seed, 0)
    return seed if isinstance(seed, Generator) else Generator(np.random.Philox(seed))


def uniform_numbers(rng: Generator, *shape: int) -> Numbers:
    """Uniform numbers in [0, 1) with 53 random bits each."""
    raw = np.asarray(rng.bit_generator.random_raw(math.prod(shape)))
    raw >>= np.uint64(11)
    values: Numbers = np.multiply(raw, 2.0**-53).reshape(shape)
    return values


def select_lowest(keys: Numbers, count: int) -> Flags:
    """The entries that are among the `count` lowest of their row, ``(rows, n)``."""
    if count == 0:
        return np.zeros(keys.shape, dtype=bool)
    return keys <= np.partition(keys, count - 1, axis=1)[:, count - 1 : count]


def choose_weighted(rng: Generator, weights: Numbers, n_rows: int, count: int) -> Flags:
    """Choose `count` of n entries in each row without replacement, ``(rows, n)``.

    Entries are drawn one by one, each with a probability proportional to its weight among the remaining ones. This is
    equivalent to drawing an exponential time of rate w_i for each entry i and selecting the `count` shortest times
    (Efraimidis and Spirakis 2006, 10.1016/j.ipl.2005.11.003). Entries of weight 0 are never selected.
    """
    arrival = -np.log1p(-uniform_numbers(rng, n_rows, len(weights)))
    return select_lowest(np.divide(arrival, weights, out=np.full_like(arrival, np.inf), where=weights > 0), count)


def sample_by_density(rng: Generator, density: Numbers, n_rows: int, acceleration: float) -> Flags:
    """Select in each row the entries with the largest products of a uniform number and the density, ``(rows, *axes)``.

    Their number is one more than n / acceleration, since the original program of `vds_density` includes the next score.
    """
    count = min(round(density.size / acceleration) + 1, density.size)
    chosen, bound = np.empty((n_rows, density.size), dtype=bool), -1.0
    for row in chosen:  # row by row for the cache
        scores = uniform_numbers(rng, density.size)
        scores *= density.ravel()
        likely = scores[scores > bound]
        threshold = np.partition(likely if len(likely) >= count else scores, -count)[-count]
        np.greater_equal(scores, threshold, out=row)
        bound = 0.9 * threshold  # differs little between rows, and sorting a part is faster
    return chosen.reshape(n_rows, *density.shape)


def with_centre(mask: Flags, n_acs: int) -> Flags:
    """Lines ``(frames, ky)`` to which the central lines are added."""
    mask[:, centre_slice(mask.shape[1], n_acs)] = True
    return mask


def around_centre(drawn: Flags, request: MaskRequest) -> Flags:
    """Combine lines drawn outside the centre ``(frames, ky - n_acs)`` with the central lines, ``(frames, ky)``."""
    mask = np.ones((len(drawn), request.ky), dtype=bool)
    outer = np.ones(request.ky, dtype=bool)
    outer[centre_slice(request.ky, request.n_acs)] = False
    mask[:, outer] = drawn
    return mask


def gaussian_density(ky: int, acceleration: float, n_acs: int) -> Numbers:
    """Probability of each ky line outside the centre: a Gaussian of std ky / 10 plus a constant, ``(ky,)``.

    Jung et al., k-t FOCUSS, 10.1002/mrm.21757, in the form of Schlemper et al., 10.1109/TMI.2017.2760978.
    """
    line = np.arange(ky)
    density = np.exp(-0.5 / (ky / 10) ** 2 * (line - ky / 2) ** 2) + 0.5 / acceleration
    density[centre_slice(ky, n_acs)] = 0
    probability: Numbers = density / (density.sum() or 1)  # 0 if all lines are central
    return probability


def wide_gaussian_density(ky: int) -> Numbers:
    """The density of CMRxRecon 2024: a Gaussian of width ky / 5 and height 1/4 plus 0.1, ``(ky,)``."""
    return 0.1 + 0.25 * np.exp(-(((np.arange(ky) - ky // 2) / (ky / 5)) ** 2))


@lru_cache(maxsize=32)
def vds_density(shape: tuple[int, ...], acceleration: float) -> Numbers:
    """Variable density over one or two axes of k-space: min(1, (1 - r)^9 + v).

    r is the distance from the centre over its maximum; v is chosen such that the sum over all points is their number
    over the acceleration, up to a fraction of a point.
    """
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    r = np.sqrt(np.sum(np.square(axes), axis=0))
    profile = (1 - r / r.max()) ** 9
    target, low, high = int(r.size / acceleration), 0.0, 1.0
    for _ in range(60):
        level = (low + high) / 2
        total = int(np.floor(np.minimum(1, profile + level).sum()))
        if total == target:
            break
        low, high = (level, high) if total < target else (low, level)
    density: Numbers = np.minimum(1, profile + level)
    density.flags.writeable = False  # cached for the next call
    return density
