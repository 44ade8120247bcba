"""The linear and logistic models of the verdict, and conformal limits."""

import numpy as np
import pytest
from trust_fit import CHECK_MARGIN, FAILURE_WEIGHT, check_limits, conformal_limits, logistic, ridge

from cinerecon.reconstruction.trust.features import CHECKS


def test_limits_are_those_of_the_rank():
    assert conformal_limits(np.arange(1.0, 40.0)) == (2.0, 38.0)  # rank ceil(40 * 0.95) = 38
    assert conformal_limits(np.arange(5.0)) == (0.0, 4.0)


def test_weights_are_numbers_of_scores():
    rng = np.random.default_rng(2)
    scores, numbers = rng.normal(size=60), rng.integers(1, 5, 60)
    expected = conformal_limits(np.repeat(scores, numbers))
    assert conformal_limits(scores, numbers.astype(float)) == expected
    assert conformal_limits(np.arange(3.0), np.full(3, 0.1)) == (0.0, 2.0)


def test_missed_failures_hardly_widen_the_limits():
    rng = np.random.default_rng(3)
    intact, missed = rng.normal(size=4000), rng.normal(3, 1, 800)
    scores, importance = np.concatenate([intact, missed]), np.repeat([1.0, FAILURE_WEIGHT], [4000, 800])
    low, high = conformal_limits(scores, importance)
    assert np.mean((low <= intact) & (intact <= high)) == pytest.approx(0.9, abs=0.02)
    low, high = conformal_limits(scores)
    assert np.mean((low <= intact) & (intact <= high)) > 0.93


def test_ridge_and_logistic_find_known_weights():
    rng = np.random.default_rng(4)
    vectors = np.column_stack([np.ones(4000), rng.normal(size=(4000, 2))])
    assert ridge(vectors, vectors @ [1.0, 2.0, -3.0], 1e-6) == pytest.approx([1, 2, -3], abs=1e-4)
    labels = rng.random(4000) < 1 / (1 + np.exp(-vectors @ [0.5, 1.0, -2.0]))
    assert logistic(vectors, labels.astype(float), 1e-3) == pytest.approx([0.5, 1, -2], abs=0.2)


def test_limits_of_checks_are_above_all_intact_scans():
    rng = np.random.default_rng(1)
    intact = [dict.fromkeys(CHECKS, float(rng.normal())) for _ in range(50)]
    intact[3]["silent_coil"] = np.nan
    limits = check_limits(intact)
    for name, (limit, scale) in limits.items():
        values = [features[name] for features in intact]
        assert limit == pytest.approx(np.nanmax(values) + CHECK_MARGIN * scale)
        assert scale == pytest.approx(np.nanstd(values))
