from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.physics.lowrank import (
    RelativeSoft,
    Schatten,
    Spectrum,
    TopKHard,
    TopKSoft,
    shrink_casorati,
    shrink_patches,
    shrink_matrix,
)

GOLDEN = Path("../shared/golden/svt.npz")
RULES = {
    "relative": RelativeSoft(torch.tensor(-1.0, dtype=torch.float64)),
    "hard": TopKHard(2),
    "soft": TopKSoft(torch.tensor(2.3, dtype=torch.float64)),
}


def _by_svd(matrix, rule):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u * (rule.share(s, *rule.measure(Spectrum(s, matrix.shape[-2:], True))) * s).unsqueeze(-2)) @ vh


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("shape", [(5, 30), (3, 4, 4), (6, 3)])
def test_equals_the_svd(rule, shape):
    matrix = complex_randn(*shape)
    assert relative_error(shrink_matrix(matrix, rule), _by_svd(matrix, rule)) < 1e-10


@pytest.mark.skipif(not GOLDEN.exists(), reason="the authors' outputs are not here")
def test_relative_rule_equals_the_authors_program():
    golden = np.load(GOLDEN)
    rule = RelativeSoft(torch.tensor(float(golden["thres_coef"])))
    found = shrink_casorati(torch.from_numpy(golden["x"]), rule)
    assert relative_error(found, torch.from_numpy(golden["casorati"])) < 1e-6
    frames = torch.from_numpy(golden["x"])
    assert relative_error(shrink_matrix(frames, rule), torch.from_numpy(golden["perframe"])) < 1e-6


def test_top_k_with_all_values_is_the_identity_and_zero_stays_zero():
    image = complex_randn(2, 4, 6, 5)
    assert relative_error(shrink_casorati(image, TopKHard(4)), image) < 1e-12
    for rule in RULES.values():
        assert not shrink_casorati(torch.zeros_like(image), rule).any()


def test_single_precision_error_is_small_for_strong_thresholds():
    image = complex_randn(12, 40, 30, dtype=torch.complex64)
    rule = RelativeSoft(torch.tensor(-2.0))
    found, expected = shrink_casorati(image, rule), shrink_casorati(image.to(torch.complex128), rule)
    assert relative_error(found, expected) < 2e-6


def _degenerate_matrices():
    basis = torch.linalg.qr(complex_randn(8, 4)).Q.mH
    left = torch.linalg.qr(complex_randn(4, 4, seed=1)).Q
    for name, values in {
        "distinct": (3.0, 2.0, 1.1, 0.4),
        "repeated": (2.0, 2.0, 2.0, 0.4),
        "rank deficient": (3.0, 2.0, 0.0, 0.0),
    }.items():
        yield name, (left * torch.tensor(values, dtype=torch.float64)) @ basis


@pytest.mark.parametrize("matrix", [pytest.param(m, id=n) for n, m in _degenerate_matrices()])
def test_gradient_of_the_relative_rule_is_right_where_values_repeat_or_vanish(matrix):
    theta = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    function = lambda m, t: torch.view_as_real(shrink_matrix(torch.view_as_complex(m), RelativeSoft(t)))  # noqa: E731
    real = torch.view_as_real(matrix).clone().requires_grad_()
    if matrix[0].norm() and torch.linalg.svdvals(matrix)[0] > torch.linalg.svdvals(matrix)[1] + 1e-6:
        assert torch.autograd.gradcheck(function, (real, theta))
    else:  # s_1 itself has no derivative at a tie of the largest: compare with the rule for a fixed threshold
        fixed = lambda m: torch.view_as_real(shrink_matrix(torch.view_as_complex(m), _Absolute(0.5)))  # noqa: E731
        assert torch.autograd.gradcheck(fixed, (real,))


class _Absolute:
    tie_width = 1e-9

    def __init__(self, threshold):
        self.threshold = threshold

    def measure(self, spectrum):
        return ()

    def share(self, s):
        return torch.where(s > self.threshold, 1 - self.threshold / s.clamp(min=self.threshold), 0.0)


def test_gradient_of_soft_top_k():
    matrix = torch.view_as_real(next(_degenerate_matrices())[1]).clone().requires_grad_()
    k = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    rule = lambda k: TopKSoft(k, tie_width=1e-9)  # noqa: E731
    function = lambda m, k: torch.view_as_real(shrink_matrix(torch.view_as_complex(m), rule(k)))  # noqa: E731
    assert torch.autograd.gradcheck(function, (matrix, k))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_gradients_are_finite_for_zero_and_repeated_values(rule):
    for matrix in (torch.zeros(3, 7, dtype=torch.complex64), torch.eye(3, 7, dtype=torch.complex64)):
        matrix.requires_grad_()
        shrink_matrix(matrix, rule).abs().square().sum().backward()
        assert torch.isfinite(torch.view_as_real(matrix.grad)).all()


def test_p_shrinkage_spares_the_large_and_drops_the_small():
    values = torch.tensor([10.0, 2.0, 0.9, 0.0], dtype=torch.float64)
    expected = torch.tensor([10 - 10**-0.5, 2 - 2**-0.5, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(Schatten(1.0, 0.5).share(values, torch.tensor(1.0)) * values, expected)


@pytest.mark.parametrize("shift", [(0, 0), (3, 1), (-1, 12)])
def test_patches_tile_the_image_wherever_they_begin(shift):
    series = complex_randn(2, 4, 10, 13)
    assert relative_error(shrink_patches(series, TopKHard(4), 5, shift), series) < 1e-12


def test_a_patch_is_shrunk_as_a_matrix_of_its_own():
    series, rule = complex_randn(4, 10, 13), Schatten(2.0, 0.7)
    found = shrink_patches(series, rule, 5, (2, 1))
    for rows, columns in ((slice(3, 8), slice(4, 9)), (slice(0, 3), slice(9, 13)), (slice(8, 10), slice(0, 4))):
        alone = shrink_casorati(series[:, rows, columns].contiguous(), rule)
        assert relative_error(found[:, rows, columns], alone) < 1e-12
