import pytest
import torch
from helpers import complex_randn, relative_error
from torch.nn import functional

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.methods.model_file import ModelConfig
from cinerecon.methods.network import NetworkMethod, is_bfloat16_accurate
from cinerecon.physics.operators import Encoding

CPU = torch.device("cpu")
NAMES = ("slrnet", "istanet", "dccnn", "crnn", "lsnet", "passnet", "jotlasnet", "t2lrnet", "stvarnet")


@pytest.fixture
def native(monkeypatch):
    """A processor that computes faster in bfloat16; torch emulates it elsewhere."""
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: True)


def make_method(precision="auto", name="dccnn"):
    torch.manual_seed(0)
    architecture = {"n_cascades": 2, "n_channels": 8}
    config = ModelConfig(network=name, architecture=architecture, precision=precision)
    return NetworkMethod(networks.build(name, architecture), config)


def make_cine():
    mask = torch.rand(6, 1, 32, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    image = complex_randn(6, 32, 24, seed=1, dtype=torch.complex64)
    return CineData(Encoding(mask, matrix=(32, 24)).forward(image), mask, None)


@pytest.mark.parametrize("name", NAMES)
def test_networks_give_the_same_image_in_bfloat16(name, native):
    assert is_bfloat16_accurate(make_method(name=name).net, CPU)


def test_convolutions_are_in_bfloat16_and_the_image_is_in_single_precision(native):
    half, single = (make_method(precision)(make_cine()) for precision in ("auto", "float32"))
    assert half.dtype == torch.complex64
    assert 1e-6 < relative_error(half, single) < 1e-2


def test_a_processor_without_bfloat16_computes_in_single_precision(monkeypatch):
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: False)
    assert torch.equal(*(make_method(precision)(make_cine()) for precision in ("auto", "float32")))


def wrong_in_bfloat16(convolve, factor):
    def wrong(*args, **kwargs):
        result = convolve(*args, **kwargs)
        return result * factor if result.dtype == torch.bfloat16 else result

    return wrong


@pytest.mark.parametrize("factor", [float("nan"), 1.15])
def test_a_library_with_wrong_convolutions_in_bfloat16_is_not_used(native, monkeypatch, factor):
    for name in ("conv2d", "conv3d"):
        monkeypatch.setattr(functional, name, wrong_in_bfloat16(getattr(functional, name), factor))
    method = make_method()
    assert not method.computes_in_bfloat16
    assert bool(method(make_cine()).isfinite().all())
