from typing import get_args

import pytest
import torch
from helpers import relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_starts_from_zero_filled,
    random_case,
    set_thresholds,
)

from cinerecon.networks.config import PassNetConfig
from cinerecon.networks.passnet import PassNet
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding
from cinerecon.physics.shrinkage import ShrinkageName

SMALL = PassNetConfig(n_cascades=3, n_channels=4)
fusions = pytest.mark.parametrize(
    "settings", [{}, {"lsaf": "residual4"}, {"fusion": "addition"}], ids=["magnitude", "residual4", "addition"]
)


@pytest.mark.parametrize(
    ("lsaf", "expected"),
    [
        ("magnitude", {9: 752_697, 13: 1_087_229, 15: 1_254_495, 17: 1_421_761}),
        ("residual4", {9: 751_401, 13: 1_085_357, 15: 1_252_335, 17: 1_419_313}),
    ],
)
def test_parameter_counts(lsaf, expected):
    for n_cascades, number in expected.items():
        assert count_parameters(PassNet(PassNetConfig(n_cascades=n_cascades, lsaf=lsaf))) == number


@fusions
@pytest.mark.parametrize("coils", [1, 3])
def test_batched_equals_looped(settings, coils):
    assert_batched_equals_looped(set_thresholds(PassNet(SMALL.model_copy(update=settings))), coils)


@pytest.mark.parametrize("shrinkage", [name for name in get_args(ShrinkageName) if name != "pass"])
def test_any_rule_can_replace_pass(shrinkage):
    assert_batched_equals_looped(PassNet(SMALL.model_copy(update={"shrinkage": shrinkage})), 1)


@torch.no_grad()
def test_pass_begins_as_the_identity_and_can_become_another():
    net = PassNet(SMALL).double()
    kept_whole = PassNet(SMALL.model_copy(update={"shrinkage": "topk_hard", "rank": 7})).double()
    kept_whole.load_state_dict(net.state_dict(), strict=False)
    kspace, encoding = random_case()
    expected = kept_whole(kspace, encoding)
    assert relative_error(net(kspace, encoding), expected) < 1e-9
    assert relative_error(set_thresholds(net)(kspace, encoding), expected) > 1e-3


@fusions
def test_learns_everywhere_once_pass_is_not_the_identity(settings):
    assert_learns_everywhere(set_thresholds(PassNet(SMALL.model_copy(update={**settings, "n_channels": 8}))))


@fusions
def test_starts_from_the_zero_filled_image(settings):
    assert_starts_from_zero_filled(PassNet(SMALL.model_copy(update=settings)))


@fusions
def test_checkpointing_changes_nothing(settings):
    config = SMALL.model_copy(update=settings)
    assert_checkpointing_changes_nothing(PassNet(config), PassNet(config.model_copy(update={"checkpointing": True})))


@fusions
@torch.no_grad()
def test_the_image_is_between_its_two_parts(settings):
    net = PassNet(SMALL.model_copy(update={**settings, "n_cascades": 1})).double()
    kspace, encoding = random_case()
    image, parts = net(kspace, encoding, extras=True)
    if "W" in parts:
        assert (parts["W"] > 0).all()
        assert (parts["W"] < 1).all()
        assert parts["W"].std() > 0
        expected = parts["W"] * parts["L"] + (1 - parts["W"]) * parts["S"]
    else:  # the first gradient step of one coil stays at A^H y
        expected = parts["L"] + parts["S"] - encoding.adjoint(kspace)
    assert relative_error(image, expected) < 1e-12


@pytest.mark.parametrize("lsaf", ["magnitude", "residual4"])
def test_in_mixed_precision_equal_parts_stay_what_they_are(lsaf):
    """W and 1 - W sum to one."""
    net = PassNet(PassNetConfig(n_cascades=1, n_channels=4, lsaf=lsaf, step=0.0))
    net.cascades[0].lowrank = net.cascades[0].sparse = torch.nn.Identity()
    kspace, encoding = random_case(1, 3, 1)
    kspace = kspace.to(torch.complex64)
    encoding = Encoding(encoding.mask, None, matrix=encoding.matrix)
    with torch.autocast("cpu", torch.bfloat16):
        assert relative_error(net(kspace, encoding), encoding.adjoint(kspace)) < 1e-6


def test_the_gate_has_the_given_number_of_convolutions():
    few, many = (PassNet(PassNetConfig(n_cascades=1, gate_layers=n)) for n in (2, 3))
    assert count_parameters(few) < count_parameters(many)
    assert PassNetConfig(lsaf="residual4").gate_layers == 2
