"""Rules that depend on the noise: the published constants, the estimated risk, and the noise that they remove."""

import math

import pytest
import torch
from lowrank_cases import by_svd

from cinerecon.physics.lowrank import AdaptiveTraceNorm, OptimalShrinkage, Spectrum, shrink_matrix
from cinerecon.physics.lowrank.rules import _crowding, marchenko_pastur_median


def test_the_median_of_white_noise_gives_the_published_hard_threshold():
    def coefficient(beta):  # Gavish and Donoho 2014, equation 11, over the root of the median
        root = math.sqrt(beta**2 + 14 * beta + 1)
        return math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root)) / math.sqrt(marchenko_pastur_median(beta))

    assert coefficient(1.0) == pytest.approx(2.858, abs=5e-4)
    for beta in (0.1, 0.3, 0.5, 0.8):  # their approximation, "to within 0.02"
        approximation = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
        assert coefficient(beta) == pytest.approx(approximation, abs=0.02)


def test_the_median_of_a_square_matrix_is_that_of_a_quarter_of_a_circle():
    median = math.sqrt(marchenko_pastur_median(1.0))
    share = (median / 2 * math.sqrt(4 - median**2) + 2 * math.asin(median / 2)) / math.pi
    assert share == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("shape", [(60, 60), (40, 160)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_median_gives_the_noise_level(shape, dtype):
    noise = torch.randn(8, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))  # E |z|^2 = 1
    values = torch.linalg.svdvals(noise)
    unit, beta = OptimalShrinkage().measure(Spectrum(values, shape, dtype.is_complex))
    assert float(unit.sqrt().mean()) == pytest.approx(math.sqrt(max(shape)), rel=0.02)
    assert float(beta[0]) == min(shape) / max(shape)


def test_optimal_shrinkage_of_a_square_matrix_is_the_closed_form():
    values = torch.tensor([9.0, 5.0, 1.0, 1.0, 0.9, 0.8], dtype=torch.float64)
    rule = OptimalShrinkage()
    unit, beta = rule.measure(Spectrum(values, (6, 6), True))
    found = values * rule.share(values, unit, beta)
    torch.testing.assert_close(found, (values.square() - 4 * unit).clamp(min=0).sqrt())


def _noisy(dtype, rank=3, shape=(30, 50), noise=0.05):
    kind = 2 if dtype.is_complex else 1
    random = torch.Generator().manual_seed(1)
    draw = lambda *sides: torch.randn(*sides, dtype=dtype, generator=random)  # noqa: E731
    truth = draw(shape[0], rank) @ draw(rank, shape[1]) / 10
    return truth, truth + noise * math.sqrt(kind) * draw(*shape)  # `noise` in each real number


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("rule", [OptimalShrinkage(), AdaptiveTraceNorm(), AdaptiveTraceNorm(0.05)], ids=str)
def test_adaptive_rules_denoise(dtype, rule):
    truth, noisy = _noisy(dtype)
    error = (shrink_matrix(noisy, rule) - truth).norm()
    best_rank = min(
        (_truncate(noisy, k) - truth).norm() for k in range(6)
    )  # the best that a top-k rule could do, had it known
    assert error < 1.02 * best_rank
    assert error < 0.6 * (noisy - truth).norm()


def _truncate(matrix, k):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :k] * s[:k]) @ vh[:k]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4)])
def test_the_divergence_is_the_trace_of_the_jacobian(dtype, shape):
    matrix = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(2))
    tau, gamma, noise = 1.1, 2.0, 0.3
    rule = AdaptiveTraceNorm(noise, shares=(tau,), gammas=(gamma,))
    values = torch.linalg.svdvals(matrix) / torch.linalg.svdvals(matrix)[0]
    largest = float(torch.linalg.svdvals(matrix)[0])
    fixed = _Fixed(tau=tau * largest, gamma=gamma)
    real = torch.view_as_real(matrix) if dtype.is_complex else matrix

    def shrink(numbers):
        shrunk = by_svd(torch.view_as_complex(numbers) if dtype.is_complex else numbers, fixed)
        return torch.view_as_real(shrunk) if dtype.is_complex else shrunk

    n = real.numel()
    divergence = float(torch.autograd.functional.jacobian(shrink, real).reshape(n, n).trace())
    expected = float((shrink(real) - real).square().sum()) + noise**2 * (2 * divergence - n)
    spectrum = Spectrum(values * largest, shape, dtype.is_complex)
    found = rule._risks(spectrum, torch.tensor([tau], dtype=torch.float64), gamma, *_crowding(spectrum.values))
    assert float(found) == pytest.approx(expected, rel=1e-9)


class _Fixed(AdaptiveTraceNorm):
    def __init__(self, tau, gamma):
        object.__setattr__(self, "fixed", (tau, gamma))

    def measure(self, spectrum):
        return tuple(torch.full_like(spectrum.largest, number) for number in self.fixed)


def test_equal_values_take_the_limit_of_the_divergence():
    rule = AdaptiveTraceNorm(0.1)
    risks = []
    for gap in (0.0, 1e-4):
        values = torch.tensor([3.0, 2.0 + gap, 2.0 - gap, 0.5], dtype=torch.float64)
        shares = torch.tensor([0.2, 0.4], dtype=torch.float64)
        risks.append(rule._risks(Spectrum(values, (4, 6), True), shares, 1.5, *_crowding(values)))
    torch.testing.assert_close(*risks, rtol=1e-5, atol=0)
