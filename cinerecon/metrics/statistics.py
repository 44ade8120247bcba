"""How sure a mean over cases is, and whether one method is better than another.

Slices of one person are alike: they are averaged first, or drawn together, so that a hundred slices of two persons do
not pass for a hundred persons.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
N_DRAWS = 5000
FEWEST_UNITS = 5
"""The bootstrap of fewer is far too sure of itself: of two it is what lies between them."""
FEWEST_PAIRS = 6
"""With five pairs even five like signs have p = 0.0625: no test of ranks can find anything."""


@dataclass(frozen=True)
class Spread:
    """A mean over cases.

    Attributes
    ----------
    mean, sd
        Over all cases; standard deviation of a sample, 0 for one case, NaN where the mean is not finite.
    low, high
        Bootstrap confidence interval of the mean at 95 %; NaN for fewer than five units.
    n, n_units
        Cases, and persons (or whatever cases are grouped by) that they are from.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    n_units: int


@dataclass(frozen=True)
class Gain:
    """A method against the baseline, on the same cases.

    Attributes
    ----------
    mean
        Mean difference, method minus baseline.
    low, high
        Its bootstrap confidence interval at 95 %.
    p
        Of Wilcoxon's signed-rank test, two-sided, of the means of units; NaN where there are fewer than six.
    p_holm
        The same, corrected for all methods that were tested against the baseline together.
    n_units
        Pairs that were tested.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    n_units: int


def spread(values: Sequence[float], units: Sequence[Hashable] | None = None) -> Spread:
    """Mean, standard deviation and confidence interval; values that are NaN are left out.

    Parameters
    ----------
    values
        One per case.
    units
        What each case belongs to, e.g. the person; None: each case is a unit.
    """
    kept = [(v, u) for v, u in zip(values, units or range(len(values)), strict=True) if not math.isnan(v)]
    if not kept:
        return Spread(math.nan, math.nan, math.nan, math.nan, 0, 0)
    found, of = [v for v, _ in kept], [u for _, u in kept]
    low, high = bootstrap_interval(found, of)
    mean, n = float(np.mean(found)), len(found)
    sd = (float(np.std(found, ddof=1)) if n > 1 else 0.0) if math.isfinite(mean) else math.nan
    return Spread(mean, sd, low, high, n, len(set(of)))


def bootstrap_interval(
    values: Sequence[float], units: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; units are drawn with replacement, each with all of its cases.

    Always the same for the same values. (NaN, NaN) where there are fewer than five units, which tell little of others.
    """
    sums, counts = _by_unit(values, units)
    if len(sums) < FEWEST_UNITS or not np.isfinite(sums).all():
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(sums), size=(N_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compare_paired(values: Sequence[float], baseline: Sequence[float], units: Sequence[Hashable] | None = None) -> Gain:
    """Compare a method with the baseline, case by case; not yet corrected for several methods, see `correct`.

    Parameters
    ----------
    values, baseline
        One per case, the same cases in the same order.
    units
        As in `spread`.
    """
    differences = [a - b for a, b in zip(values, baseline, strict=True)]
    kept = [(d, u) for d, u in zip(differences, units or range(len(differences)), strict=True) if math.isfinite(d)]
    if not kept:
        return Gain(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    found, of = [d for d, _ in kept], [u for _, u in kept]
    sums, counts = _by_unit(found, of)
    p = _signed_rank(sums / counts)
    return Gain(float(np.mean(found)), *bootstrap_interval(found, of), p, p, len(sums))


def correct(gains: Sequence[Gain]) -> list[Gain]:
    """The same gains with `p_holm` for all of them together; those without a p value do not count."""
    tested = [gain.p for gain in gains if not math.isnan(gain.p)]
    corrected = iter(holm(tested))
    return [gain if math.isnan(gain.p) else replace(gain, p_holm=next(corrected)) for gain in gains]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, which holds the chance of any false finding, in the order given.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure (1979), Scand. J. Stat. 6, 65-70
    """
    n, worst = len(p_values), 0.0
    corrected = [0.0] * n
    for rank, index in enumerate(sorted(range(n), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (n - rank) * p_values[index]))
        corrected[index] = worst
    return corrected


def _signed_rank(differences: NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon

    if len(differences) < FEWEST_PAIRS:
        return math.nan
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def _by_unit(
    values: Sequence[float], units: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the values and numbers of cases of each unit."""
    of: dict[Hashable, list[float]] = {}
    for value, unit in zip(values, units or range(len(values)), strict=True):
        of.setdefault(unit, []).append(value)
    return np.array([sum(v) for v in of.values()], float), np.array([len(v) for v in of.values()], float)
