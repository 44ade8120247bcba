"""Shrinkage rules: their values, their limits, and what leaves them unchanged."""

import pytest
import torch
from helpers import complex_randn, relative_error
from lowrank_cases import RULES, SCALE_FREE, decaying, matrix_of, position_aware

from cinerecon.physics.lowrank import (
    AbsoluteSoft,
    NuclearMinusFrobenius,
    RelativeSoft,
    Schatten,
    Spectrum,
    TopKHard,
    TopKSoft,
    shrink_matrix,
)

VALUES = torch.tensor([10.0, 2.0, 0.9, 0.0], dtype=torch.float64)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def _shrunk(rule, values=VALUES):
    return values * rule.share(values, *rule.measure(Spectrum(values, (len(values), 20), True)))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RelativeSoft(0.0), [5, 0, 0, 0]),
        (RelativeSoft(0.0, gain=0.2), [9, 1, 0, 0]),
        (AbsoluteSoft(0.5), [9.5, 1.5, 0.4, 0]),
        (AbsoluteSoft(-1.0), [10, 2, 0.9, 0]),
        (Schatten(1.0, 0.5), [10 - 10**-0.5, 2 - 2**-0.5, 0, 0]),
        (Schatten(0.5, 1.0), [9.5, 1.5, 0.4, 0]),
        (TopKHard(2), [10, 2, 0, 0]),
        (TopKSoft(2.0, temperature=1e-3), [10, 2, 0, 0]),
        (TopKSoft(1.5, temperature=0.5), [10 / (1 + torch.e**-2), 1, 0.9 / (1 + torch.e**2), 0]),
    ],
    ids=str,
)
def test_values(rule, expected):
    torch.testing.assert_close(_shrunk(rule), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("level", [0.3, 1.0, 3.0])
def test_nuclear_minus_frobenius_minimises_its_objective(level):
    values = torch.tensor([2.0, 1.2], dtype=torch.float64)
    axis = torch.linspace(0, 3, 601, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    objective = ((x - 2.0) ** 2 + (y - 1.2) ** 2) / 2 + level * (x + y - (x**2 + y**2).sqrt())
    best = objective.argmin()
    expected = torch.stack((x.flatten()[best], y.flatten()[best]))
    torch.testing.assert_close(_shrunk(NuclearMinusFrobenius(level), values), expected, atol=5e-3, rtol=0)


@every_rule
def test_nothing_is_kept_at_the_cutoff_and_something_above_it(rule):
    values = torch.linspace(5, 0.1, 40, dtype=torch.float64)
    cutoff = rule.cutoff(values)
    if cutoff is None:
        pytest.skip("a rule that needs the whole spectrum")
    kept = _shrunk(rule, values) > 1e-6 * values
    assert kept.any()
    assert not kept[values <= cutoff].any()
    if not isinstance(rule, TopKSoft):
        assert kept[values > cutoff].all()


@pytest.mark.parametrize(
    "rule",
    [
        TopKHard(5),
        TopKSoft(20.0),
        RelativeSoft(-80.0),
        AbsoluteSoft(0.0),
        Schatten(0.0, 0.5),
        NuclearMinusFrobenius(0.0),
    ],
    ids=str,
)
def test_a_rule_that_keeps_everything_is_the_identity(rule):
    for matrix in (complex_randn(2, 5, 12), matrix_of(3.0, 2.0, 2.0, 0.0, 0.0)):
        assert relative_error(shrink_matrix(matrix, rule), matrix) < 1e-12


@every_rule
def test_zero_stays_zero(rule):
    for shape in ((4, 9), (2, 4, 9), (9, 4)):
        assert not shrink_matrix(torch.zeros(shape, dtype=torch.complex128), rule).any()


@every_rule
def test_rotations_of_rows_and_columns_pass_through(rule):
    matrix = decaying(6, 11)
    left, right = torch.linalg.qr(complex_randn(6, 6)).Q, torch.linalg.qr(complex_randn(11, 11)).Q
    expected = left @ shrink_matrix(matrix, rule) @ right
    assert relative_error(shrink_matrix(left @ matrix @ right, rule), expected) < 1e-9


@pytest.mark.parametrize(
    "rule", [*(RULES[name] for name in SCALE_FREE), position_aware(normalize=True)], ids=[*SCALE_FREE, "pass"]
)
def test_rules_without_a_level_follow_the_scale(rule):
    matrix = decaying(6, 11)
    for scale in (1e-6, 1e6):
        assert relative_error(shrink_matrix(scale * matrix, rule), scale * shrink_matrix(matrix, rule)) < 1e-9


@every_rule
def test_what_is_shrunk_is_not_larger(rule):
    matrix = decaying(6, 11)
    before, after = torch.linalg.svdvals(matrix), torch.linalg.svdvals(shrink_matrix(matrix, rule))
    assert (after <= before * 1.4).all()
    assert after.sum() < before.sum()
