"""Confidence intervals of means over cases, and paired tests between methods.

Slices of one subject are not independent. They are averaged first, or resampled together, so that a hundred slices of
two subjects are not treated as a hundred subjects.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_LEVEL = 0.95
N_BOOTSTRAP_SAMPLES = 5000
MIN_UNITS = 5
"""Smallest number of units for a bootstrap interval; with fewer, the interval is much too narrow."""
MIN_PAIRS = 6
"""Smallest number of pairs for a rank test; with five pairs, even five equal signs give p = 0.0625."""


@dataclass(frozen=True)
class MeanSummary:
    """A mean over cases.

    Attributes
    ----------
    mean, sd
        Mean and sample standard deviation over all cases; the latter is 0 for one case, and NaN if the mean is not
        finite.
    low, high
        Bootstrap confidence interval of the mean at 95 %; NaN for fewer than five units or a mean that is not finite.
    n, n_units
        Number of cases, and of the units that they belong to, e.g. subjects.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    n_units: int


@dataclass(frozen=True)
class Gain:
    """Gain of a method over the baseline on the same cases.

    Attributes
    ----------
    mean
        Mean difference, method minus baseline.
    low, high
        Bootstrap confidence interval of the mean difference at 95 %.
    p
        Two-sided p value of Wilcoxon's signed-rank test of the unit means; NaN for fewer than six units.
    p_holm
        The p value with Holm's correction for all methods that are compared with the baseline.
    n_units
        Number of pairs that were tested.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    n_units: int


def summarise_mean(values: Sequence[float], units: Sequence[Hashable] | None = None) -> MeanSummary:
    """Mean, standard deviation and confidence interval; NaN values are ignored.

    Parameters
    ----------
    values
        One value per case.
    units
        The unit of each case, e.g. the subject; None means that each case is a unit.
    """
    pairs = [(v, u) for v, u in zip(values, units or range(len(values)), strict=True) if not math.isnan(v)]
    if not pairs:
        return MeanSummary(math.nan, math.nan, math.nan, math.nan, 0, 0)
    finite, finite_units = [v for v, _ in pairs], [u for _, u in pairs]
    low, high = bootstrap_interval(finite, finite_units)
    mean, n = float(np.mean(finite)), len(finite)
    sd = (float(np.std(finite, ddof=1)) if n > 1 else 0.0) if math.isfinite(mean) else math.nan
    return MeanSummary(mean, sd, low, high, n, len(set(finite_units)))


def bootstrap_interval(
    values: Sequence[float], units: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; units are drawn with replacement, each with all of its cases.

    The result is deterministic. It is (NaN, NaN) for fewer than five units.
    """
    sums, counts = _by_unit(values, units)
    if len(sums) < MIN_UNITS or not np.isfinite(sums).all():
        return math.nan, math.nan
    samples = np.random.default_rng(seed).integers(len(sums), size=(N_BOOTSTRAP_SAMPLES, len(sums)))
    means = sums[samples].sum(axis=1) / counts[samples].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return float(low), float(high)


def compare_paired(values: Sequence[float], baseline: Sequence[float], units: Sequence[Hashable] | None = None) -> Gain:
    """Compare a method with the baseline, case by case, without correction for several methods; see `with_holm`.

    Differences that are not finite, e.g. of the PSNR of a perfect image, are excluded.

    Parameters
    ----------
    values, baseline
        One value per case, for the same cases in the same order.
    units
        As in `summarise_mean`.
    """
    differences = [a - b for a, b in zip(values, baseline, strict=True)]
    pairs = [(d, u) for d, u in zip(differences, units or range(len(differences)), strict=True) if math.isfinite(d)]
    if not pairs:
        return Gain(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    finite, finite_units = [d for d, _ in pairs], [u for _, u in pairs]
    sums, counts = _by_unit(finite, finite_units)
    p = _signed_rank(sums / counts)
    return Gain(float(np.mean(finite)), *bootstrap_interval(finite, finite_units), p, p, len(sums))


def with_holm(gains: Sequence[Gain]) -> list[Gain]:
    """The gains with `p_holm`, corrected for all of them together; gains without a p value are not counted."""
    tested = [gain.p for gain in gains if not math.isnan(gain.p)]
    corrected = iter(holm(tested))
    return [gain if math.isnan(gain.p) else replace(gain, p_holm=next(corrected)) for gain in gains]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, which controls the family-wise error rate; in the order given.

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

    if len(differences) < MIN_PAIRS:
        return math.nan
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def _by_unit(
    values: Sequence[float], units: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the values and numbers of cases of each unit."""
    by_unit: dict[Hashable, list[float]] = {}
    for value, unit in zip(values, units or range(len(values)), strict=True):
        by_unit.setdefault(unit, []).append(value)
    return np.array([sum(v) for v in by_unit.values()], float), np.array([len(v) for v in by_unit.values()], float)
