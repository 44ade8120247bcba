from typing import get_args

import pytest
import torch
from golden import copy_kernels, golden, golden_input, published
from helpers import relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_starts_from_zero_filled,
    random_case,
    set_thresholds,
)

from cinerecon.networks.config import JotlasNetConfig
from cinerecon.networks.jotlasnet import JotlasNet
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.shrinkage import ShrinkageName

SMALL = JotlasNetConfig(n_cascades=3, n_channels=4)


@torch.no_grad()
def _filled(weights):
    net = JotlasNet()
    for n, cascade in enumerate(net.cascades):
        cell = f"celllist/{n}"
        lowrank, sparse = cascade.lowrank, cascade.sparse
        stacks = {
            "lconv_1": lowrank.analysis,
            "lconv_2": lowrank.synthesis,
            "sconv_1": sparse.analysis,
            "sconv_2": sparse.synthesis,
        }
        for name, stack in stacks.items():
            copy_kernels(stack, [weights[f"{cell}/{name}/mylayers/{i}/kernel"] for i in (0, 2, 4)])
        for i, linear in enumerate((sparse.attention.squeeze, sparse.attention.excite)):
            path = f"{cell}/ST/att/layer_with_weights-{i}"
            linear.weight.copy_(torch.tensor(weights[f"{path}/kernel"]).T)
            linear.bias.copy_(torch.tensor(weights[f"{path}/bias"]))
        names = {"mu": cascade.step, "thres_lr": lowrank.lowrank.level, "t": cascade.momentum, "w": cascade.w}
        for name, parameter in names.items():
            parameter.copy_(torch.tensor(weights[f"{cell}/{name}"]))
    return net


def test_equals_the_authors_program_with_published_weights():
    net = _filled(published("jotlasnet_JotlasNet-radial-16-20240129T145900/weight-best"))
    with torch.no_grad():
        image = net(*golden_input("sc"))
    assert relative_error(image, torch.from_numpy(golden("jotlasnet_radial16_sc")["recon"])) < 1e-5


def test_parameter_counts_of_the_authors_program():
    assert count_parameters(JotlasNet()) == 708_045
    assert count_parameters(JotlasNet(JotlasNetConfig(learn_w=True))) == 708_075


@pytest.mark.parametrize("shrinkage", get_args(ShrinkageName))
@pytest.mark.parametrize("coils", [1, 3])
def test_batched_equals_looped(shrinkage, coils):
    assert_batched_equals_looped(set_thresholds(JotlasNet(SMALL.model_copy(update={"shrinkage": shrinkage}))), coils)


def test_starts_from_the_zero_filled_image():
    assert_starts_from_zero_filled(JotlasNet(SMALL))


def test_learns_everywhere():
    assert_learns_everywhere(JotlasNet(SMALL.model_copy(update={"learn_w": True, "n_channels": 8})))


def test_the_first_step_has_no_gradient_from_the_zero_filled_image_of_one_coil():
    net = JotlasNet(SMALL).double()
    kspace, encoding = random_case()
    net(kspace, encoding).abs().square().sum().backward()
    assert net.cascades[0].step.grad.abs() < 1e-12  # A A^H y = y: nothing to step down
    assert net.cascades[1].step.grad.abs() > 1e-6


def test_checkpointing_changes_nothing():
    assert_checkpointing_changes_nothing(JotlasNet(SMALL), JotlasNet(SMALL.model_copy(update={"checkpointing": True})))


@torch.no_grad()
def test_parts_and_momentum_make_the_image():
    net = JotlasNet(SMALL.model_copy(update={"n_cascades": 1})).double()
    cascade = net.cascades[0]
    cascade.w.copy_(torch.tensor([1.0, 0.0]))
    kspace, encoding = random_case()
    image, parts = net(kspace, encoding, extras=True)
    share = torch.softmax(cascade.w, 0)
    mean = share[0] * parts["L"] + share[1] * parts["S"]
    expected = mean + torch.sigmoid(cascade.momentum) * (mean - encoding.adjoint(kspace))
    assert relative_error(image, expected) < 1e-12
