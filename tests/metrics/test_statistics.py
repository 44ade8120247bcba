"""Means, intervals and tests: against known results, and on several slices of a subject."""

import math

import numpy as np
import pytest

from cinerecon.metrics.statistics import bootstrap_interval, compare_paired, holm, summarise_mean, with_holm


def test_mean_and_deviation():
    found = summarise_mean([30.0, 34.0, math.nan])
    assert (found.mean, found.n, found.n_units) == (32, 2, 2)
    assert found.sd == pytest.approx(math.sqrt(8))
    assert summarise_mean([math.nan]).n == 0
    assert (summarise_mean([5.0]).sd, math.isnan(summarise_mean([5.0]).low)) == (0, True)


def test_the_interval_is_that_of_the_normal_law_where_that_holds():
    values = np.random.default_rng(1).normal(30, 2, size=400)
    low, high = bootstrap_interval(list(values))
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert bootstrap_interval(list(values)) == (low, high)


def test_slices_of_one_subject_are_one_unit():
    """Ten subjects, forty slices of each that hardly differ: the interval is that of ten values, not of 400."""
    subjects = np.random.default_rng(2).normal(30, 2, size=10)
    values, units = list(np.repeat(subjects, 40)), list(np.repeat(np.arange(10), 40))
    low, high = bootstrap_interval(values, units)
    wrong_low, wrong_high = bootstrap_interval(values)
    assert high - low > 4 * (wrong_high - wrong_low)
    assert math.isnan(bootstrap_interval(values[:160], units[:160])[0])  # four subjects


def test_the_paired_test_is_wilcoxons():
    """Eight pairs, all better: the smallest p there is, 2 / 2^8."""
    baseline = [30.0, 31, 35, 28, 33, 36, 29, 32]
    gain = compare_paired([b + 0.1 * (n + 1) for n, b in enumerate(baseline)], baseline)
    assert gain.p == pytest.approx(2 / 2**8)
    assert gain.mean == pytest.approx(0.45)
    assert gain.low > 0
    assert math.isnan(compare_paired(baseline[:5], [b - 1 for b in baseline[:5]]).p)
    assert compare_paired(baseline, baseline).p == 1


def test_pairs_are_subjects():
    values, units = [1.0, 1.1, 2.0, 2.1] * 3, [0, 0, 1, 1] * 3
    gain = compare_paired(values, [0.0] * 12, units)
    assert gain.n_units == 2
    assert math.isnan(gain.p)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []


def test_what_was_not_tested_does_not_count_in_the_correction():
    baseline = [30.0, 31, 35, 28, 33, 36, 29, 32]
    better = compare_paired([b + 1 + 0.01 * n for n, b in enumerate(baseline)], baseline)
    few = compare_paired([1.0], [0.0])
    corrected = with_holm([better, few, better])
    assert [g.p_holm for g in (corrected[0], corrected[2])] == pytest.approx([2 * better.p] * 2)
    assert math.isnan(corrected[1].p_holm)


def test_a_mean_that_is_not_finite_has_no_statistics():
    found = summarise_mean([math.inf, 30.0, 31.0])
    assert (found.mean, math.isnan(found.sd), found.n) == (math.inf, True, 3)


def test_a_subject_of_many_slices_counts_as_many():
    """95 slices of one subject at 1, one of each of five others at 0: their mean is in its interval."""
    low, high = bootstrap_interval([1.0] * 95 + [0.0] * 5, ["a"] * 95 + list("bcdef"))
    assert low <= 0.95 <= high
