"""The linear and logistic models of the verdict, and conformal limits."""

import numpy as np
import pytest
from trust_fit import conformal_limits, logistic, ridge


def test_limits_are_those_of_the_rank():
    assert conformal_limits(np.arange(1.0, 40.0), 0.9) == (2.0, 38.0)  # rank ceil(40 * 0.95) = 38
    assert conformal_limits(np.arange(5.0), 0.9) == (0.0, 4.0)


def test_ridge_and_logistic_find_known_weights():
    rng = np.random.default_rng(4)
    vectors = np.column_stack([np.ones(4000), rng.normal(size=(4000, 2))])
    assert ridge(vectors, vectors @ [1.0, 2.0, -3.0], 1e-6) == pytest.approx([1, 2, -3], abs=1e-4)
    labels = rng.random(4000) < 1 / (1 + np.exp(-vectors @ [0.5, 1.0, -2.0]))
    assert logistic(vectors, labels.astype(float), 1e-3) == pytest.approx([0.5, 1, -2], abs=0.2)
