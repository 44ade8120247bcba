from typing import get_args

import pytest
import torch
from golden import copy_kernels, golden, golden_input, published
from helpers import complex_randn, relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_scale_equivariant,
    assert_starts_from_zero_filled,
    random_case,
    set_thresholds,
)

from cinerecon.networks.config import T2lrNetConfig
from cinerecon.networks.t2lrnet import T2lrNet, proximal_step
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding
from cinerecon.physics.shrinkage import ShrinkageName

ADMM = T2lrNetConfig(n_cascades=3, n_channels=4, step=1.0)
GRADIENT = ADMM.model_copy(update={"variant": "gradient"})
variants = pytest.mark.parametrize("config", [ADMM, GRADIENT], ids=["admm", "gradient"])


@torch.no_grad()
def _filled(config, analysis, synthesis, scalars, weights):
    """A network with published weights, given their names in each cell."""
    net = T2lrNet(config)
    for n, cascade in enumerate(net.cascades):
        branch = cascade.lowrank
        for stack, paths in ((branch.analysis, analysis), (branch.synthesis, synthesis)):
            copy_kernels(stack, [weights[f"celllist/{n}/{path}/kernel"] for path in paths])
        for theirs, ours in scalars.items():
            cascade.get_parameter(ours).fill_(float(weights[f"celllist/{n}/{theirs}"]))
    return net


def _published_admm():
    names = [f"conv_{i}/mylayers/0" for i in range(1, 7)]
    scalars = {"thres_coef": "lowrank.lowrank.level", "mu": "step", "eta": "multiplier_rate"}
    return _filled(T2lrNetConfig(), names[:3], names[3:], scalars, published("t2lrnet_ckpt/ckpt"))


def test_admm_equals_the_authors_program_with_published_weights():
    with torch.no_grad():
        image = _published_admm()(*golden_input("sc"))
    assert relative_error(image, torch.from_numpy(golden("t2lr_admm_radial16_sc")["recon"])) < 2e-5


def test_gradient_variant_equals_the_authors_program_with_published_weights():
    weights = published("unrollingnets_T2LR_Net-vista-8-20250113T130359/weight-best")
    analysis, synthesis = ([f"lconv_{k}/mylayers/{i}" for i in (0, 2, 4)] for k in (1, 2))
    scalars = {"thres_lr": "lowrank.lowrank.level", "mu": "step"}
    net = _filled(T2lrNetConfig(variant="gradient"), analysis, synthesis, scalars, weights)
    with torch.no_grad():
        image = net(*golden_input("mc"))
    assert relative_error(image, torch.from_numpy(golden("unrolling_T2LR_Net_vista8_mc")["recon"])) < 5e-5


def test_admm_with_one_coil_and_a_map_is_admm_without():
    net = _published_admm()
    kspace, encoding = golden_input("sc")
    with_map = Encoding(encoding.mask, torch.ones(1, 1, *encoding.matrix, dtype=torch.complex64))
    with torch.no_grad():
        assert relative_error(net(kspace, with_map), net(kspace, encoding)) < 1e-5


def test_parameter_counts_of_the_authors_programs():
    assert count_parameters(T2lrNet()) == 259_244
    assert count_parameters(T2lrNet(T2lrNetConfig(variant="gradient"))) == 259_230


@pytest.mark.parametrize("coils", [1, 4])
def test_proximal_step_solves_its_equation(coils):
    kspace, encoding = random_case(2, coils=coils)
    zerofilled, image = encoding.adjoint(kspace), complex_randn(2, 5, 9, 7, seed=5)
    weight = torch.tensor(3.0, dtype=torch.float64)
    found = proximal_step(image, zerofilled, encoding, weight, 40)
    assert relative_error(found + weight * encoding.normal(found), image + weight * zerofilled) < 1e-10


def test_proximal_step_has_the_right_gradient_with_several_coils():
    kspace, encoding = random_case(frames=1, coils=2, matrix=(3, 3))
    image = complex_randn(1, 1, 3, 3, seed=5).requires_grad_()
    zerofilled = encoding.adjoint(kspace).requires_grad_()
    weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, z, w: proximal_step(v, z, encoding, w, 12), (image, zerofilled, weight), atol=1e-6
    )


def test_ten_solver_steps_are_enough_for_the_published_weights():
    net = _published_admm()
    exact = T2lrNet(net.config.model_copy(update={"n_solver_steps": 60}))
    exact.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert relative_error(net(*golden_input("mc")), exact(*golden_input("mc"))) < 1e-4


@pytest.mark.parametrize("shrinkage", get_args(ShrinkageName))
@pytest.mark.parametrize("coils", [1, 3])
@variants
def test_batched_equals_looped(config, shrinkage, coils):
    assert_batched_equals_looped(set_thresholds(T2lrNet(config.model_copy(update={"shrinkage": shrinkage}))), coils)


@variants
def test_scale_equivariant(config):
    assert_scale_equivariant(T2lrNet(config))


@variants
def test_starts_from_the_zero_filled_image(config):
    assert_starts_from_zero_filled(T2lrNet(config))


@variants
def test_learns_everywhere(config):
    assert_learns_everywhere(T2lrNet(config))


def test_the_last_multiplier_is_not_learned():
    assert [cascade.multiplier_rate.requires_grad for cascade in T2lrNet(ADMM).cascades] == [True, True, False]


@variants
def test_checkpointing_changes_nothing(config):
    assert_checkpointing_changes_nothing(T2lrNet(config), T2lrNet(config.model_copy(update={"checkpointing": True})))
