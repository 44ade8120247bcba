"""A wrong weight gradient of the processor's bfloat16 convolutions is refused, once for each shape, before a step."""

import pytest
import torch
import yaml
from helpers import relative_error
from small_recipe import RECIPE
from torch import nn

from cinerecon import networks
from cinerecon.errors import ConfigError
from cinerecon.networks.blocks import Conv3d
from cinerecon.training import gradient_check, read_recipe, train
from cinerecon.training.gradient_check import check_weight_gradients, weight_gradient

FEATURES = torch.randn(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

CODE = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.refine = nn.Conv3d(2, 2, 3, padding=1)

    def forward(self, kspace, encoding, start=None):
        image = encoding.adjoint(kspace)
        change = self.refine(torch.stack([image.real, image.imag], 1)).float()
        return image + torch.complex(change[:, 0], change[:, 1])
"""


@pytest.fixture(autouse=True)
def _without_amx(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)


@pytest.fixture
def wrong(monkeypatch):
    """Make the weight gradient in bfloat16 15 % too large; returns the shapes it was computed for."""
    shapes = []

    def scaled(module, features, grad):
        shapes.append(tuple(features.shape))
        return weight_gradient(module, features, grad) * (1.15 if features.dtype == torch.bfloat16 else 1)

    monkeypatch.setattr(gradient_check, "weight_gradient", scaled)
    return shapes


def run(net, features=FEATURES, dtype=torch.bfloat16):
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        net(features)


@pytest.mark.usefixtures("wrong")
def test_a_wrong_gradient_is_refused():
    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1))
    check_weight_gradients(net)
    with pytest.raises(ConfigError, match=r"relative error 0\.15") as error:
        run(net)
    assert error.value.where == "convolution 0, input (1, 2, 3, 8, 8)"
    assert "training.precision=float32" in error.value.hint
    run(net, dtype=torch.float32)
    with torch.no_grad():
        run(net)


def test_a_right_gradient_is_computed_once_for_each_shape(monkeypatch):
    net, shapes = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1)), []
    monkeypatch.setattr(
        gradient_check, "_relative_error", lambda _, shape, *__: shapes.append(tuple(shape)) or torch.tensor(0.003)
    )
    check_weight_gradients(net)
    for features in (FEATURES, FEATURES, FEATURES[..., :6], FEATURES):
        run(net, features)
    assert shapes == [(1, 2, 3, 8, 8), (1, 2, 3, 8, 6)]


@pytest.mark.parametrize("error", [float("nan"), 0.011])
def test_what_is_not_close_is_refused(monkeypatch, error):
    monkeypatch.setattr(gradient_check, "_relative_error", lambda *_: error)
    net = nn.Sequential(nn.Conv3d(2, 4, 3))
    check_weight_gradients(net)
    with pytest.raises(ConfigError, match="weight gradient in bfloat16 is wrong"):
        run(net)


@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": "same", "dilation": 2}, {"stride": 2, "groups": 2}])
def test_the_gradient_is_that_of_autograd(options):
    module = nn.Conv3d(2, 4, 3, padding_mode="zeros", **options)
    features = torch.randn(2, 2, 6, 9, 8)
    output = module(features)
    grad = torch.randn_like(output)
    output.backward(grad)
    assert relative_error(weight_gradient(module, features, grad), module.weight.grad) < 1e-5
    check_weight_gradients(module)
    run(module, features)


def test_nothing_is_tried_on_processors_with_amx(monkeypatch, wrong):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    net = nn.Sequential(nn.Conv3d(2, 4, 3))
    check_weight_gradients(net)
    with pytest.raises(ConfigError, match="not reliable on this processor"):
        run(net)
    assert wrong == []


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_of_the_package_have_their_own_gradient(name):
    """Their 3x3x3 convolutions are verified in `networks.bfloat16`: the library's gradient is not needed."""
    net = networks.build(name, n_cascades=1, n_channels=4)
    others = [m for m in net.modules() if isinstance(m, nn.Conv3d) and not isinstance(m, Conv3d)]
    assert others == []


@pytest.mark.usefixtures("wrong")
@pytest.mark.filterwarnings("ignore:this device emulates bfloat16")
def test_a_training_ends_before_its_first_step(tmp_path):
    (tmp_path / "plain.py").write_text(CODE)
    recipe = {**RECIPE, "network": "plain.py:Plain", "architecture": {}}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(ConfigError, match="weight gradient in bfloat16 is wrong"):
        train(read_recipe(tmp_path / "model.yaml", ["training.precision=bfloat16"]), tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()
