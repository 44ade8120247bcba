"""Large matrices with few values above the threshold: the same image, and the full method if the check fails."""

import math

import pytest
import torch
from helpers import complex_randn, relative_error
from lowrank_cases import RULES, by_svd, decaying

from cinerecon.physics.lowrank import (
    AbsoluteSoft,
    NuclearMinusFrobenius,
    RelativeSoft,
    Schatten,
    TopKHard,
    TopKSoft,
    decompose,
    spectral,
)

SHAPE = (3, 96, 110)
pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def full(monkeypatch):
    """How many matrices the full method was given."""
    sizes = []
    whole = spectral.shrink_by_all

    def record(matrix, rule, **settings):
        sizes.append(matrix.shape[:-2].numel())
        return whole(matrix, rule, **settings)

    monkeypatch.setattr(spectral, "shrink_by_all", record)
    return sizes


def _shrink_and_compare(matrix, rule):
    found = spectral.shrink_matrix(matrix, rule)
    assert found.dtype == matrix.dtype
    double = torch.complex128 if matrix.is_complex() else torch.float64
    return relative_error(found, by_svd(matrix.to(double), rule))


def relative(share):
    return RelativeSoft(math.log(share / (1 - share)))


@pytest.mark.parametrize(
    "rule",
    [
        relative(0.2),
        relative(0.05),
        AbsoluteSoft(0.1),
        Schatten(0.03, 0.5),
        TopKHard(1),
        TopKHard(6),
        TopKSoft(3.0),
        NuclearMinusFrobenius(0.1),
        NuclearMinusFrobenius(2.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [SHAPE, (2, 2, 110, 96), (96, 96)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float32])
def test_few_survivors_are_found_without_the_full_method(rule, shape, dtype, full):
    matrix = decaying(*shape, power=1.8)
    matrix = (matrix if dtype.is_complex else matrix.real).to(dtype)
    assert _shrink_and_compare(matrix, rule) < 1e-5
    assert not full


@pytest.mark.parametrize("rule", [relative(0.03), TopKHard(12)], ids=str)
def test_many_survivors_go_to_the_full_method(rule, full):
    flat = decaying(*SHAPE, power=0.1, dtype=torch.complex64)
    assert _shrink_and_compare(flat, rule) < 2e-5
    assert full


@pytest.mark.parametrize("rule", [RULES["pass"], RULES["optimal"], RULES["adaptive_trace"]], ids=type)
def test_rules_that_need_the_whole_spectrum_go_to_the_full_method(rule, full):
    assert _shrink_and_compare(decaying(*SHAPE, dtype=torch.complex64), rule) < 2e-5
    assert full == [3]


def test_only_those_matrices_that_need_it_go_to_the_full_method(full):
    matrix = decaying(*SHAPE, power=1.8, dtype=torch.complex64)
    matrix[1] = decaying(*SHAPE[1:], power=0.1, seed=7)
    assert _shrink_and_compare(matrix, relative(0.2)) < 1e-5
    assert full == [1]


def test_no_value_above_the_threshold_gives_zero(full):
    rule = AbsoluteSoft(3.0)
    assert not spectral.shrink_matrix(decaying(*SHAPE, dtype=torch.complex64), rule).any()
    assert not spectral.shrink_matrix(torch.zeros(SHAPE, dtype=torch.complex64), rule).any()
    assert not full


@pytest.mark.parametrize("floor", [0.0, 0.05, 0.18])
def test_the_check_sees_a_value_that_was_missed(floor):
    """A value above the threshold is missing from the subspace; the others are zero, or just below the threshold."""
    values = torch.full((96,), floor, dtype=torch.float64)
    values[:8] = torch.linspace(1, 0.25, 8, dtype=torch.float64)
    vectors = torch.linalg.qr(complex_randn(1, 96, 96)).Q
    gram = ((vectors * values.square()) @ vectors.mH).to(torch.complex64)
    limit = torch.tensor([0.2**2], dtype=torch.float64)
    for kept, expected in ((list(range(12)), True), ([0, 1, 2, 3, 5, 6, 7, 8], False)):
        basis = vectors[..., kept].to(torch.complex64)
        assert bool(decompose._is_complete(gram, basis, basis.mH @ gram @ basis, limit)) is expected


@pytest.mark.parametrize("rule", [relative(0.1), TopKHard(6), Schatten(0.03, 0.5), TopKSoft(3.0)], ids=str)
@pytest.mark.parametrize("n_rounds", [1, 2, 3])
def test_the_reported_error_is_the_true_error(rule, n_rounds, monkeypatch):
    monkeypatch.setattr(decompose, "_TOLERANCE", 0.0)  # go on to the last round
    matrix = decaying(1, 96, 110, power=1.0, dtype=torch.complex64)
    found = decompose.leading_vectors(matrix @ matrix.mH, 16, 110, rule, n_rounds)
    exact = by_svd(matrix.to(torch.complex128), rule)
    made = relative_error(decompose.apply_shares(found.vectors, found.shares, matrix), exact)
    assert 0.7 * made < float(found.error) < 1.5 * made + 1e-6
    assert not bool(found.is_reliable)


def test_inference_mode(full):
    matrix = decaying(*SHAPE, power=1.8, dtype=torch.complex64)
    with torch.inference_mode():
        assert _shrink_and_compare(matrix, relative(0.2)) < 1e-5
    assert not full
