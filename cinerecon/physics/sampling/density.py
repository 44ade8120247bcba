"""How densely the random patterns sample k-space."""

from functools import lru_cache

import numpy as np

from cinerecon.axes import centre_slice
from cinerecon.physics.sampling.rng import Numbers


def gaussian_density(ky: int, acceleration: float, n_acs: int) -> Numbers:
    """Probability of each ky line outside the centre: a Gaussian of std ky / 10 over a uniform floor, ``(ky,)``.

    Jung et al., k-t FOCUSS, 10.1002/mrm.21757, in the form of Schlemper et al., 10.1109/TMI.2017.2760978.
    """
    line = np.arange(ky)
    density = np.exp(-0.5 / (ky / 10) ** 2 * (line - ky / 2) ** 2) + 0.5 / acceleration
    density[centre_slice(ky, n_acs)] = 0
    return density / (density.sum() or 1)  # no line is left where the centre is all


def wide_gaussian_density(ky: int) -> Numbers:
    """The density of CMRxRecon 2024: a Gaussian of width ky / 5 and height 1/4 over a floor of 0.1, ``(ky,)``."""
    return 0.1 + 0.25 * np.exp(-(((np.arange(ky) - ky // 2) / (ky / 5)) ** 2))


@lru_cache(maxsize=32)
def vds_density(shape: tuple[int, ...], acceleration: float) -> Numbers:
    """Variable density over one or two axes of k-space: min(1, (1 - r)^9 + v).

    r is the distance from the centre over its maximum; v is such that the sum over all points is their count over the
    acceleration, up to the fraction of a point.
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
    density.flags.writeable = False  # it is kept for the next call
    return density
