"""Cards travel inside the weights, and tell when a scan lies outside of the training."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cinerecon import networks
from cinerecon.errors import WeightsError
from cinerecon.methods.unrolled import Card, ModelConfig, load_weights, outside_training, read_model, write_model

CARD = Card(
    licence="MIT",
    split="train: 3 of phantom",
    masks=("gaussian:4", "vds:8"),
    acceleration=(4.0, 8.1),
    whole_readouts=False,
    coils=(2, 8),
    lines=(128, 192),
    metrics={"validation_db": 33.25},
)


@pytest.fixture
def model(tmp_path):
    config = ModelConfig(network="slrnet", architecture={"n_cascades": 1, "n_channels": 2}, card=CARD)
    net = networks.build(config.network, config.architecture)
    write_model(tmp_path / "one.safetensors", net.state_dict(), config)
    return tmp_path / "one.safetensors", net


def test_a_card_comes_back_as_it_was(model):
    assert read_model(model[0])[0].card == CARD


def test_changed_weights_are_noticed(model):
    path, net = model
    load_weights(net, path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = load_file(path)
    weights["cascades.0.step"] += 1e-6
    save_file(weights, path, metadata)
    with pytest.raises(WeightsError, match="not those that were written"):
        load_weights(net, path)


def test_a_scan_like_those_of_the_training_gives_no_warning(make_cine):
    data = make_cine(4)
    card = Card(acceleration=(2.0, 4.0), whole_readouts=True, coils=(1, 8), lines=(24, 24))
    assert outside_training(card, data) == []
    assert outside_training(Card(), data) == []


@pytest.mark.parametrize(
    ("card", "n_coils", "words"),
    [
        (Card(acceleration=(1.0, 2.0)), 4, "the network was trained up to 2"),
        (Card(coils=(1, 1)), 4, "the scan has 4 coils, the network was trained on one"),
        (Card(coils=(4, 8)), 1, "the scan has one coil, the network was trained on 4 and more"),
        (Card(lines=(128, 192)), 4, "the scan has 24 lines, the network was trained on 128 to 192"),
    ],
)
def test_what_lies_outside_is_told(make_cine, card, n_coils, words):
    (text,) = outside_training(card, make_cine(n_coils))
    assert words in text


def test_single_points_are_told_from_whole_readouts(make_cine):
    data, card = make_cine(4), Card(whole_readouts=True)
    wide = data.mask.expand(-1, -1, -1, data.matrix[1])
    assert outside_training(card, replace(data, mask=wide)) == []
    points = wide & (torch.rand(wide.shape, generator=torch.Generator().manual_seed(0)) < 0.9)
    (text,) = outside_training(card, replace(data, mask=points))
    assert "single points" in text
