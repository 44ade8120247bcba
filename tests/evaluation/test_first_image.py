"""An image that several networks start from is made once, and counted for each."""

from dataclasses import dataclass, field

import pytest
import torch
from helpers import complex_randn

from cinerecon.cine import CineData
from cinerecon.evaluation.initial_image import MadeOnce, share_first_images
from cinerecon.evaluation.score_slice import fingerprint, with_first_image
from cinerecon.machine import Usage
from cinerecon.methods.classical.zerofilled import ZeroFilled


@dataclass(eq=False)
class Counting:
    """Zero-filled, and how often it was asked."""

    config: object = field(default_factory=lambda: ZeroFilled().config)
    n_calls: int = 0

    def __call__(self, data, _progress=None):
        self.n_calls += 1
        return ZeroFilled()(data)


@dataclass(eq=False)
class Network:
    """Adds one to its first image."""

    start: object
    config: object = field(default_factory=lambda: ZeroFilled().config)

    def __call__(self, data, _progress=None):
        return self.start(CineData(data.kspace[()], data.mask, data.csm)) + 1


def make_data():
    kspace = complex_randn(2, 1, 6, 5)
    return CineData(kspace, torch.ones(2, 1, 6, 1, dtype=torch.bool), None)


def test_two_networks_and_the_method_itself_share_one_image():
    makers = [Counting(), Counting(), Counting()]
    methods = share_first_images({"a": Network(makers[0]), "b": Network(makers[1]), "alone": makers[2]}, "cpu")
    first, second = make_data(), make_data()
    for data in (first, second, first):
        images = {name: method(data) for name, method in methods.items()}
        expected = ZeroFilled()(data)
        assert torch.equal(images["alone"], expected)
        assert torch.equal(images["a"], expected + 1)
        assert torch.equal(images["b"], expected + 1)
    assert [maker.n_calls for maker in makers] == [3, 0, 0]


def test_what_is_saved_is_counted_for_each():
    maker = MadeOnce(Counting(), "cpu")
    network, data = Network(maker), make_data()
    network(data)
    assert with_first_image(network, Usage(2.0, 10.0)) == Usage(2.0, 10.0)
    network(data)
    assert maker.saved.seconds > 0
    assert with_first_image(network, Usage(2.0, 10.0)).seconds == pytest.approx(2 + maker.saved.seconds)


def test_a_fingerprint_is_that_of_the_method():
    assert fingerprint(MadeOnce(Counting(), "cpu")) == fingerprint(Counting())
