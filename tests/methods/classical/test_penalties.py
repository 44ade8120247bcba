"""Penalties of ADMM: circular differences, proximal maps, costs."""

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error
from sigpy import prox

from cinerecon.errors import ConfigError
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.classical.config import KtSlrConfig, LowRankConfig, VariationConfig
from cinerecon.methods.classical.ktslr_reference import difference_linop
from cinerecon.methods.classical.penalties import (
    Coupling,
    LowRankPenalty,
    TotalVariationPenalty,
    add_adjoint_difference,
    difference,
    difference_spectrum,
)
from cinerecon.metrics.measures import psnr
from cinerecon.physics.lowrank import shrink_patches

SHAPES = [(5, 9, 8), (1, 4, 6), (2, 3, 1)]
SHAPE = (5, 9, 8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_adjoint(shape, axis):
    u, d = complex_randn(*shape), complex_randn(*shape, seed=1)
    left = torch.vdot(difference(u, axis, torch.empty_like(u)).ravel(), d.ravel())
    right = torch.vdot(u.ravel(), add_adjoint_difference(torch.zeros_like(d), d, axis, 1.0).ravel())
    assert abs(left - right) < 1e-10


def test_they_are_those_of_the_released_programs():
    """Forward: the length of the gradient at a voxel would be another if they were backward."""
    u = complex_randn(5, 9, 8)
    found = np.stack([difference(u, axis, torch.empty_like(u)).numpy() for axis in range(3)])
    np.testing.assert_allclose(found, difference_linop(tuple(u.shape), (1.0, 1.0, 1.0))(u.numpy()), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_spectrum_holds_the_eigenvalues(n):
    step = torch.eye(n, dtype=torch.float64) - torch.eye(n, dtype=torch.float64).roll(1, 0)
    torch.testing.assert_close(difference_spectrum(n).sort().values, torch.linalg.eigvalsh(step.mT @ step))


def test_the_coupling_adds_what_it_says():
    u, total = complex_randn(5, 9, 8), complex_randn(5, 9, 8, seed=1)
    coupling = Coupling(0.5, time=3.0) + Coupling(identity=0.25, x=2.0)
    expected = total + 0.75 * u
    for axis, factor in ((0, 3.0), (2, 2.0)):
        add_adjoint_difference(expected, difference(u, axis, torch.empty_like(u)), axis, factor)
    torch.testing.assert_close(coupling.add_to(total.clone(), u, torch.empty_like(u)), expected)


def test_time_that_is_not_cyclic_has_one_difference_less():
    u = complex_randn(5, 3, 4, seed=1)
    found = difference(u, 0, torch.empty_like(u), is_cyclic=False)
    torch.testing.assert_close(found[:-1], u[1:] - u[:-1])
    assert not found[-1].any()
    adjoint = add_adjoint_difference(torch.zeros_like(u), found, 0, 1.0)
    assert float(torch.vdot(u.ravel(), adjoint.ravel()).real) == pytest.approx(float(found.abs().square().sum()))


def test_sum_of_couplings_is_cyclic_if_both_are():
    assert (Coupling(1.0) + Coupling(time=1.0)).is_cyclic
    assert not (Coupling(1.0) + Coupling(time=1.0, is_cyclic=False)).is_cyclic


def differences(u, factors=(3.0, 1.0, 1.0)):
    return torch.stack([factor * difference(u, axis, torch.empty_like(u)) for axis, factor in enumerate(factors)])


def adjoint(d, factors=(3.0, 1.0, 1.0)):
    total = torch.zeros_like(d[0])
    for axis, factor in enumerate(factors):
        add_adjoint_difference(total, d[axis], axis, factor)
    return total


@pytest.mark.parametrize("isotropic", [True, False])
def test_total_variation_shrinks_as_sigpy_does(isotropic):
    config = VariationConfig(weight_sparse=0.9, penalty_sparse=0.6, isotropic=isotropic)
    shape, threshold = (3, *SHAPE), 0.9 / 0.6
    shrink = prox.Conj(prox.L2Proj(shape, threshold, axes=(0,))) if isotropic else prox.L1Reg(shape, threshold)
    penalty, v = TotalVariationPenalty(config), torch.zeros(shape, dtype=torch.complex128)
    penalty.initialise(complex_randn(*SHAPE))
    for seed in (0, 1):
        u = complex_randn(*SHAPE, seed=seed)
        moved = differences(u) + v
        z = torch.from_numpy(shrink(1, moved.numpy()))
        v = moved - z
        penalty.update(u, 1.0)
        assert relative_error(penalty.right_side, 0.6 * adjoint(z - v)) < 1e-12


@pytest.mark.parametrize("isotropic", [True, False])
def test_the_cost_of_total_variation(isotropic):
    u = complex_randn(*SHAPE)
    penalty = TotalVariationPenalty(VariationConfig(weight_sparse=0.1, isotropic=isotropic))
    penalty.initialise(u)
    expected = torch.linalg.vector_norm(differences(u), dim=0) if isotropic else differences(u).abs()
    assert penalty.cost(u) == pytest.approx(0.1 * float(expected.sum()))


def test_a_difference_without_weight_is_left_out():
    u = complex_randn(*SHAPE)
    penalty = TotalVariationPenalty(VariationConfig(spatial_weight=0, temporal_weight=2, weight_sparse=1))
    penalty.initialise(u)
    assert len(penalty.axes) == 1
    assert penalty.cost(u) == pytest.approx(float(2 * differences(u, (1, 1, 1))[0].abs().sum()))


def test_the_nuclear_norm_is_soft_thresholding():
    config = LowRankConfig(p=1.0, weight_lowrank=1.5, penalty_lowrank=0.5, block_size=0, continuation=1)
    penalty, v = LowRankPenalty(config), torch.zeros(SHAPE, dtype=torch.complex128)
    penalty.initialise(v)
    for seed in (0, 1):
        moved = complex_randn(*SHAPE, seed=seed) + v
        left, s, right = torch.linalg.svd(moved.flatten(1), full_matrices=False)
        z = ((left * (s - 3).clamp(min=0)) @ right).view(SHAPE)
        v = moved - z
        penalty.update(complex_randn(*SHAPE, seed=seed), 1.0)
        assert relative_error(penalty.right_side, 0.5 * (z - v)) < 1e-9


@pytest.mark.parametrize("p", [1.0, 0.5])
def test_the_cost_of_low_rank(p):
    u = complex_randn(4, 10, 7)
    whole = LowRankPenalty(LowRankConfig(p=p, weight_lowrank=0.3, block_size=0))
    expected = 0.3 / p * float((torch.linalg.svdvals(u.flatten(1)) ** p).sum())
    assert whole.cost(u) == pytest.approx(expected)
    blocks = LowRankPenalty(LowRankConfig(p=p, weight_lowrank=0.3, block_size=5))
    corners = [u[:, y : y + 5, x : x + 5] for y in (0, 5) for x in (0, 5)]
    assert blocks.cost(u) == pytest.approx(sum(whole.cost(corner) for corner in corners))


def test_the_weight_falls_to_its_value_and_stays():
    penalty = LowRankPenalty(LowRankConfig(continuation=8, weight_lowrank=1, penalty_lowrank=0.5))
    weights = [penalty.rule(progress).weight for progress in (0.0, 0.3, 0.6, 1.0)]
    assert weights == pytest.approx([16, 2 * 8**0.5, 2, 2])


def test_blocks_move_each_time_and_identically_in_each_run():
    config = LowRankConfig(block_size=4, weight_lowrank=0.5, penalty_lowrank=0.1, continuation=1)
    u, runs = complex_randn(4, 10, 13), []
    for _ in range(2):
        penalty = LowRankPenalty(config)
        penalty.initialise(u)
        pulls = []
        for _ in range(2):
            penalty.v.zero_()
            penalty.update(u, 1.0)
            pulls.append(penalty.right_side.clone())
        assert not torch.equal(*pulls)
        runs.append(pulls)
    assert torch.equal(runs[0][0], runs[1][0])
    expected = [0.1 * (2 * shrink_patches(u, penalty.rule(), 4, (y, x)) - u) for y in range(4) for x in range(4)]
    assert min(relative_error(runs[0][0], one) for one in expected) < 1e-12


RULES = [
    {"shrinkage": "absolute_soft", "weight_lowrank": 2e-3},
    {"shrinkage": "nuclear_minus_frobenius", "weight_lowrank": 2e-3},
    {"shrinkage": "schatten", "p": 0.5, "weight_lowrank": 2e-3},
    {"shrinkage": "relative_soft", "threshold": -4.0},
    {"shrinkage": "topk_hard", "rank": 3},
    {"shrinkage": "topk_soft", "rank": 3},
    {"shrinkage": "optimal"},
    {"shrinkage": "adaptive_trace"},
]


@pytest.mark.parametrize("settings", RULES, ids=lambda one: one["shrinkage"])
@pytest.mark.parametrize("block_size", [0, 8])
def test_every_rule_shrinks_and_all_but_a_coarse_one_help(make_cine, settings, block_size):
    """Against total variation alone; a threshold relative to the largest value wants a network that learns it."""
    data = make_cine(n_coils=1)
    image = KtSlr(KtSlrConfig(block_size=block_size, n_iterations=15, **settings))(data)
    off = KtSlrConfig(block_size=block_size, n_iterations=15, shrinkage="absolute_soft", weight_lowrank=0)
    without = KtSlr(off)(data)
    assert relative_error(image, without) > 3e-3
    if settings["shrinkage"] != "relative_soft":
        assert psnr(image, data.reference) > psnr(without, data.reference) + 0.2


def test_absolute_soft_is_the_schatten_rule_of_exponent_one():
    u = complex_randn(*SHAPE)
    penalties = [LowRankPenalty(LowRankConfig(shrinkage=name, p=1.0)) for name in ("absolute_soft", "schatten")]
    for penalty in penalties:
        penalty.initialise(u)
        penalty.update(u, 1.0)
    assert relative_error(penalties[0].right_side, penalties[1].right_side) < 1e-12
    assert penalties[0].cost(u) == penalties[1].cost(u)


@pytest.mark.parametrize("setting", ["shrinkage=pass", "level=0.2", "gate_layers=2"])
def test_what_only_networks_have_is_refused(setting):
    with pytest.raises(ConfigError, match="only to networks"):
        LowRankConfig().with_settings([setting])


def test_a_gradient_of_no_weight_is_no_penalty():
    config = VariationConfig(isotropic=True, temporal_weight=0, spatial_weight=0)
    u, variation = complex_randn(2, 4, 4), TotalVariationPenalty(config)
    variation.initialise(u)
    variation.update(u, 1.0)
    assert variation.cost(u) == 0
