from typing import get_args

import pytest
import torch
from golden import assert_gradient_norms, copy_kernels, golden, golden_input, mean_square, published
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

from cinerecon.networks.config import LsNetConfig
from cinerecon.networks.lsnet import TOP1, LsNet
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.shrinkage import ShrinkageName

SMALL = LsNetConfig(n_cascades=3, n_channels=4)
NAMES = {"thres_coef": "lowrank.level", "gamma": "step"}


@torch.no_grad()
def _filled(config, weights):
    """A network with the weights of the authors' program, ``cell{n}/name``."""
    net = LsNet(config)
    for n, cascade in enumerate(net.cascades):
        copy_kernels(cascade.sparse, [weights[f"cell{n}/sconv_{i}"] for i in (0, 2, 4)])
        for theirs, ours in NAMES.items():
            if f"cell{n}/{theirs}" in weights:
                cascade.get_parameter(ours).fill_(float(weights[f"cell{n}/{theirs}"]))
    return net


def _seeded(config, case):
    weights = {key.removeprefix("w/"): case[key] for key in case if key.startswith("w/")}
    return _filled(config.model_copy(update={"n_cascades": 3}), weights)


@pytest.mark.parametrize(("config", "kind"), [(LsNetConfig(), "learned"), (TOP1, "top1")], ids=["learned", "top1"])
def test_equals_the_authors_program_in_output_loss_and_gradients(config, kind):
    case = golden(f"lsnet_wenqi_LplusS_{kind}_sc")
    net = _seeded(config, case)
    image, extras = net(*golden_input("sc"), extras=True)
    for name in "LSM":
        assert relative_error(extras[name].detach(), torch.from_numpy(case[name])) < 1e-5
    assert relative_error(image.detach(), torch.from_numpy(case["recon"])) < 1e-5

    loss = mean_square(image, case["label"])
    assert loss.item() == pytest.approx(float(case["loss"]), rel=1e-5)
    loss.backward()
    found = {}
    for n, cascade in enumerate(net.cascades):
        learned = [(theirs, cascade.get_parameter(ours)) for theirs, ours in NAMES.items()]
        kernels = zip((0, 2, 4), cascade.sparse.convolutions, strict=True)
        learned += [(f"sconv_{i}", convolution.weight) for i, convolution in kernels]
        found |= {f"cell{n}/{theirs}": ours.grad for theirs, ours in learned if ours.requires_grad}
    assert_gradient_norms(case, found)


def test_equals_the_authors_program_with_published_weights():
    variables = published("unrollingnets_LplusS_Net-radial-16-20230116T111237/weight-best")
    weights = {}
    for key, value in variables.items():
        _, n, *path = f"{key}//".split("/")
        weights[f"cell{n}/" + (f"sconv_{path[2]}" if path[0] == "sconv" else path[0])] = value
    case = golden("unrolling_LplusS_Net_radial16_sc")
    with torch.no_grad():
        image, extras = _filled(LsNetConfig(), weights)(*golden_input("sc"), extras=True)
    assert relative_error(image, torch.from_numpy(case["recon"])) < 2e-5
    for name in "LM":
        assert relative_error(extras[name], torch.from_numpy(case[name])) < 2e-5


def test_parameter_count_of_the_authors_program():
    assert count_parameters(LsNet()) == 328_339
    assert count_parameters(LsNet(TOP1)) == 328_339 - 10  # no threshold is learned


@pytest.mark.parametrize("shrinkage", get_args(ShrinkageName))
@pytest.mark.parametrize("coils", [1, 3])
def test_batched_equals_looped(shrinkage, coils):
    assert_batched_equals_looped(set_thresholds(LsNet(SMALL.model_copy(update={"shrinkage": shrinkage}))), coils)


def test_scale_equivariant():
    assert_scale_equivariant(LsNet(SMALL))


def test_starts_from_the_zero_filled_image():
    assert_starts_from_zero_filled(LsNet(SMALL))


def test_learns_everywhere_but_in_the_last_step():
    net = LsNet(SMALL)
    assert_learns_everywhere(net)
    assert [cascade.step.requires_grad for cascade in net.cascades] == [True, True, False]


def test_checkpointing_changes_nothing():
    assert_checkpointing_changes_nothing(LsNet(SMALL), LsNet(SMALL.model_copy(update={"checkpointing": True})))


def test_the_last_correction_with_all_data_sampled_returns_them():
    _, encoding = random_case()
    encoding = type(encoding)(torch.ones_like(encoding.mask), matrix=encoding.matrix, dtype=torch.complex128)
    truth = complex_randn(1, 5, 9, 7)
    net = LsNet(SMALL.model_copy(update={"output": "M"})).double()
    assert relative_error(net(encoding.forward(truth), encoding).detach(), truth) < 1e-12
