"""The low-rank module: every rule, gradients of learned thresholds, and cases in which the image does not change."""

import pytest
import torch
from helpers import complex_randn, relative_error
from lowrank_cases import decaying

from cinerecon.errors import ConfigError
from cinerecon.networks.config import LowRankModuleConfig
from cinerecon.networks.lowrank_module import LowRankAt, LowRankShrinkage, PositionAware, position_code
from cinerecon.physics.lowrank import RelativeSoft, make_rule, shrink_frames
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName

NAMES = ShrinkageName.__args__
LEARNED = {"topk_soft", "relative_soft", "absolute_soft", "schatten", "nuclear_minus_frobenius"}
every_rule = pytest.mark.parametrize("shrinkage", NAMES)
every_view = pytest.mark.parametrize("view", ["casorati", "frames"])


def _image(*shape):
    return decaying(*shape).view(shape) + decaying(*shape[:-2], shape[-2] * shape[-1], seed=1).view(shape)


def _count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@every_rule
@every_view
def test_every_rule_shrinks_and_what_it_learns_has_a_gradient(shrinkage, view):
    module = LowRankShrinkage(ShrinkageConfig(shrinkage=shrinkage, prox_weight=0.3), view).double()
    image = _image(2, 6, 9, 8).requires_grad_()
    shrunk = module(image)
    shrunk.backward(complex_randn(2, 6, 9, 8))
    assert shrunk.shape == image.shape
    assert shrunk.norm() <= image.norm() * (1 + 1e-9)
    assert image.grad.abs().max() > 0
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and (shrinkage != "pass" or "mix" in name):  # the zero last weights let none through
            assert parameter.grad.abs().max() > 0


@every_rule
def test_counts_of_learned_numbers(shrinkage):
    module = LowRankShrinkage(ShrinkageConfig(shrinkage=shrinkage))
    assert _count(module) == (7_488 if shrinkage == "pass" else int(shrinkage in LEARNED))
    assert ("level" in module.state_dict()) == (shrinkage in LEARNED | {"topk_hard"})
    if shrinkage == "pass":
        assert _count(LowRankShrinkage(ShrinkageConfig(shrinkage="pass", gate_layers=2))) == 5_184


@pytest.mark.parametrize(
    "settings",
    [
        {"shrinkage": "topk_hard", "rank": 8},
        {"shrinkage": "topk_soft", "rank": 30},
        {"shrinkage": "relative_soft", "threshold": -60.0},
        {"shrinkage": "absolute_soft", "prox_weight": 0.0},
        {"shrinkage": "schatten", "prox_weight": 0.0},
        {"shrinkage": "nuclear_minus_frobenius", "prox_weight": 0.0},
        {"shrinkage": "pass"},
        {"shrinkage": "pass", "normalize_spectrum": True},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
@every_view
@pytest.mark.parametrize("gradients", [True, False])
def test_a_rule_that_keeps_everything_is_the_identity(settings, view, gradients):
    module = LowRankShrinkage(ShrinkageConfig(**settings), view)
    with torch.set_grad_enabled(gradients):
        for dtype, tolerance in ((torch.complex64, 2e-6), (torch.complex128, 1e-12)):
            image = _image(2, 6, 9, 8).to(dtype)
            assert relative_error(module(image), image) < tolerance
            image[:, 3:] = image[:, :3]  # of low rank
            assert relative_error(module(image), image) < tolerance


def test_a_gain_multiplies_the_threshold():
    image = _image(6, 9, 8)
    module = LowRankShrinkage(ShrinkageConfig(shrinkage="relative_soft", threshold=-1.0), "frames").double()
    expected = shrink_frames(image, RelativeSoft(module.level, gain=0.3))
    assert relative_error(module(image, gain=0.3), expected) < 1e-12
    assert relative_error(module(image), expected) > 1e-2
    for name in ("absolute_soft", "schatten", "nuclear_minus_frobenius"):
        halved = LowRankShrinkage(ShrinkageConfig(shrinkage=name, prox_weight=0.1)).double()(image)
        assert (
            relative_error(
                LowRankShrinkage(ShrinkageConfig(shrinkage=name, prox_weight=0.2)).double()(image, gain=0.5), halved
            )
            < 1e-6
        )


def test_a_module_acts_at_its_position_alone():
    image = _image(6, 9, 8)
    placed = LowRankAt(LowRankModuleConfig(position="L3"))
    assert placed("L1", image) is image
    assert relative_error(placed("L3", image), image) > 1e-3
    assert LowRankAt(None)("L3", image) is image


def test_settings_reject_unknown_rules():
    for wrong in ({"shrinkage": "svt"}, {"p": 0.0}, {"prox_weight": -1.0}, {"gate_layers": 4}):
        with pytest.raises(ConfigError):
            ShrinkageConfig(**wrong)
    with pytest.raises(ConfigError, match="learned by networks only"):
        make_rule(ShrinkageConfig(shrinkage="pass"))


def test_position_code():
    code = position_code(4)
    expected = [1.0, 2 / 3 / 10_000**0.25, 1 / 3 / 10_000**0.5, 0.0]
    assert torch.allclose(code, torch.sin(torch.tensor(expected, dtype=torch.float64)))


def test_pass_depends_on_adjacent_values_of_the_same_series_alone():
    torch.manual_seed(0)
    module = LowRankShrinkage(ShrinkageConfig(shrinkage="pass"), "frames").double()
    torch.nn.init.normal_(module.position_aware.mix.weight, std=0.3)
    image = _image(2, 12, 9, 8)
    changed = image.clone()
    changed[0, 0] *= 3
    moved = (module(image) - module(changed)).abs().amax((-2, -1)) > 1e-12
    assert moved[0, :5].all()  # four convolutions, one after the other, see four frames further
    assert not moved[0, 5:].any()
    assert not moved[1].any()


def test_pass_follows_the_scale_where_the_spectrum_is_normalised():
    image = _image(2, 6, 9, 8)
    for normalize in (True, False):
        torch.manual_seed(0)
        rule = PositionAware(normalize=normalize).double()
        torch.nn.init.normal_(rule.mix.weight, std=0.3)
        error = relative_error(shrink_frames(1e-3 * image, rule), 1e-3 * shrink_frames(image, rule))
        assert (error < 1e-9) == normalize


def test_the_gate_sees_the_largest_value_next_to_the_first_code():
    rule, seen = PositionAware().double(), []
    rule.gate.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    shrink_frames(_image(2, 6, 9, 8), rule)
    values, codes = seen[0].unbind(1)
    assert (values.diff() < 0).all()
    assert torch.equal(codes, position_code(values.shape[-1]).expand_as(codes))
