from typing import ClassVar

import pytest
import torch
from network_checks import gradients, random_case
from torch import nn

from cinerecon.errors import ConfigError, ShapeError
from cinerecon.networks import build
from cinerecon.networks.config import NetworkConfig
from cinerecon.networks.unrolled import Unrolled, scale_output_weights
from cinerecon.physics.operators import Encoding


class Cascade(nn.Module):
    """x -> f sin(x) + A^H y, and counts how often it is computed."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.n_calls = 0

    def forward(self, zerofilled, encoding, image):
        self.n_calls += 1
        return self.factor * image.sin() + zerofilled


class Net(Unrolled[NetworkConfig]):
    def __init__(self, **settings):
        super().__init__(NetworkConfig(**settings))
        self.cascades = nn.ModuleList(Cascade(factor) for factor in (0.5, 2.0))


class Counting(Net):
    """Returns extras with the image, and records whether they and an initial image were given."""

    def unroll(self, run, image):
        image, _ = super().unroll(run, image)
        return image, {"first": image, "asked": run.extras, "begun": run.start}


@torch.no_grad()
@pytest.mark.parametrize("given", [False, True])
def test_the_image_goes_from_cascade_to_cascade(given):
    kspace, encoding = random_case(batch=2, coils=2)
    zerofilled = encoding.adjoint(kspace)
    start = 3 * zerofilled if given else None
    expected = 2 * (0.5 * (start if given else zerofilled).sin() + zerofilled).sin() + zerofilled
    net = Net().double()
    assert torch.equal(net(kspace, encoding, start=start), expected)
    image, extras = net(kspace, encoding, start=start, extras=True)
    assert torch.equal(image, expected)
    assert extras == {}


@torch.no_grad()
def test_a_network_gets_the_requested_extras():
    kspace, encoding = random_case()
    net, start = Counting().double(), encoding.adjoint(kspace)
    image, extras = net(kspace, encoding, extras=True)
    assert (extras["first"] is image, extras["asked"], extras["begun"]) == (True, True, None)
    assert net(kspace, encoding, start=start, extras=True)[1]["begun"] is start
    assert torch.equal(net(kspace, encoding), image)


def test_checkpointing_runs_a_cascade_again_in_the_backward_pass():
    plain, saving = Net(), Net(checkpointing=True)
    assert gradients(plain) == gradients(saving)
    assert [cascade.n_calls for cascade in plain.cascades] == [1, 1]
    assert [cascade.n_calls for cascade in saving.cascades] == [2, 2]
    with torch.no_grad():
        saving(*random_case())
    assert [cascade.n_calls for cascade in saving.cascades] == [3, 3]


def test_given_settings_replace_the_defaults_of_a_variant():
    class Example(NetworkConfig):
        variants: ClassVar = {"small": {"n_cascades": 2, "n_channels": 4}}
        variant: str = "large"

    assert Example().n_cascades == 10
    assert Example(variant="small").n_cascades == 2
    assert Example.parse({"variant": "small", "n_channels": 8}).model_dump() == {
        "n_cascades": 2,
        "n_channels": 8,
        "output_weight_scale": 1.0,
        "checkpointing": False,
        "variant": "small",
    }


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("slrnet", ("synthesis.4.weight",)),
        ("passnet", ("lowrank.synthesis.4.weight", "sparse.synthesis.4.weight")),  # its analysis has two features too
        ("crnn", ("cascade.to_image.weight",)),
        ("dccnn", ("refine.8.weight",)),
        ("stvarnet", ("decode.weight",)),
    ],
)
def test_output_weights_are_scaled_and_no_others(name, outputs):
    plain, scaled = (_seeded_build(name, scale) for scale in (1.0, 0.25))
    assert any(key.endswith(outputs) for key in plain.state_dict())
    for key, weight in plain.state_dict().items():
        assert torch.equal(scaled.state_dict()[key], weight * (0.25 if key.endswith(outputs) else 1.0)), key


def test_a_network_without_output_convolutions_cannot_scale_them():
    with pytest.raises(ConfigError, match="no output convolutions"):
        scale_output_weights(Net(), 0.1)


def _seeded_build(name, scale):
    torch.manual_seed(0)
    return build(name, n_cascades=2, n_channels=4, output_weight_scale=scale)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda kspace: kspace[0], r"kspace has 4 axes, expected \(batch, frames, coils, ky, kx\)"),
        (lambda kspace: kspace.numpy(), "kspace is of type ndarray"),
        (lambda _: None, "kspace is of type NoneType"),
        (lambda kspace: kspace.abs(), "kspace is torch.float32, expected a complex type"),
    ],
)
def test_kspace_that_does_not_fit_the_network_is_named(change, what):
    encoding = Encoding(torch.ones(1, 4, 1, 8, 1, dtype=torch.bool), matrix=(8, 8))
    kspace = torch.ones(1, 4, 1, 8, 8, dtype=torch.complex64)
    assert Net()(kspace, encoding).shape == (1, 4, 8, 8)
    with pytest.raises(ShapeError, match=what):
        Net()(change(kspace), encoding)
