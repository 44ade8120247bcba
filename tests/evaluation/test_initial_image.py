"""An image that several networks start from is computed once per slice, and its cost is counted for each of them."""

import pytest
import torch
from helpers import complex_randn

from cinerecon.cine import CineData
from cinerecon.evaluation.initial_image import InitialImages
from cinerecon.methods.base import Reconstruction, Reconstructor, fingerprint
from cinerecon.methods.classical.linear import ZeroFilled


class Counting(ZeroFilled):
    """Zero filling that counts its calls."""

    n_calls = 0

    def solve(self, data, progress, convergence):
        Counting.n_calls += 1
        return super().solve(data, progress, convergence)


class Network(Reconstructor):
    """Adds one to its initial image."""

    def __init__(self, initial_method):
        self.initial_method, self.config = initial_method, ZeroFilled().config

    def reconstruct(self, data, progress=None, *, initial_image=None, record=False):
        return Reconstruction(initial_image + 1)


@pytest.fixture(autouse=True)
def count(monkeypatch):
    monkeypatch.setattr(Counting, "n_calls", 0)


def make_data(seed):
    return CineData(complex_randn(2, 1, 6, 5, seed=seed), torch.ones(2, 1, 6, 1, dtype=torch.bool), None)


def test_two_networks_and_the_method_itself_share_one_image():
    methods = {"a": Network(Counting()), "b": Network(Counting()), "alone": Counting()}
    for data in (make_data(0), make_data(1)):
        images = InitialImages(data, "cpu")
        found = {name: images.reconstruct(method)[0] for name, method in methods.items()}
        expected = ZeroFilled()(data)
        assert torch.equal(found["alone"], expected)
        assert torch.equal(found["a"], expected + 1)
        assert torch.equal(found["b"], expected + 1)
    assert Counting.n_calls == 2


def test_the_time_of_the_initial_image_is_counted_for_each_network():
    images = InitialImages(make_data(0), "cpu")
    _, alone = images.reconstruct(Counting())
    for _ in range(2):
        assert images.reconstruct(Network(Counting()))[1].seconds > alone.seconds
    assert Counting.n_calls == 1


def test_fingerprints_contain_the_initial_method():
    assert fingerprint(Network(Counting())) != fingerprint(Network(ZeroFilled()))
    assert fingerprint(Network(Counting())) == fingerprint(Network(Counting()))
