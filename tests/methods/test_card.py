"""Cards are stored in the weights, and give warnings on scans outside of the training data."""

from dataclasses import replace

import pytest
import torch
from helpers import with_mask
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import WeightsError
from cinerecon.methods.card import Card, hash_subject
from cinerecon.methods.card_warnings import outside_training
from cinerecon.methods.model_file import ModelConfig, load_weights, read_model, write_model
from cinerecon.methods.table import load_method
from cinerecon.physics.sampling import parse_mask

CARD = Card(
    licence="MIT",
    split="train: 3 of phantom",
    masks=("gaussian:4", "vds:8"),
    acceleration=(4.0, 8.1),
    whole_readouts=False,
    coils=(2, 8),
    lines=(128, 192),
    metrics={"validation_db": 33.25},
    cases=("0123456789ab",),
    subjects=("ab0123456789",),
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
    with pytest.raises(WeightsError, match="checksum of the weights is wrong"):
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
        (Card(coils=(1, 4)), 9, "the scan has 9 coils, the network was trained on up to 4"),
        (Card(coils=(4, 8)), 1, "the scan has one coil, the network was trained on 4 or more"),
        (Card(lines=(128, 192)), 4, "the scan has 24 lines, the network was trained on 128 to 192"),
        (Card(lines=(64, 64)), 4, "the scan has 24 lines, the network was trained on 64"),
    ],
)
def test_scans_outside_of_the_training_data_give_warnings(make_cine, card, n_coils, words):
    (text,) = outside_training(card, make_cine(n_coils))
    assert words in text


def test_single_points_are_distinguished_from_whole_readouts(make_cine):
    data, card = make_cine(4), Card(whole_readouts=True)
    wide = data.mask.expand(-1, -1, -1, data.matrix[1])
    assert outside_training(card, replace(data, mask=wide)) == []
    points = wide & (torch.rand(wide.shape, generator=torch.Generator().manual_seed(0)) < 0.9)
    (text,) = outside_training(card, with_mask(data, points))
    assert "single points" in text


@pytest.mark.parametrize(
    ("trained", "pattern", "words"),
    [
        (
            ("gaussian:8", "equispaced:4"),
            "golden:4",
            "is golden, the network was trained on equispaced, gaussian",
        ),
        (("gaussian:8", "equispaced:4"), "gaussian:4,acs=2", ""),
        (("gaussian:8", "equispaced:4"), "", ""),
        (
            ("gaussian:8",),
            "gaussian:4,acs=2,fixed",
            "sample the same lines, the network was trained on lines that",
        ),
        (
            ("equispaced:8",),
            "",
            "change from frame to frame, the network was trained on lines that stay",
        ),
        (
            ("radial:8", "vds:8"),
            "",
            "change from frame to frame, the network was trained on single points",
        ),
        (("mask.npz", "vds:8"), "", ""),
        ((), "golden:4", ""),
        (("gaussian:8",), "mask.npz", ""),
    ],
)
def test_another_pattern_is_recognised_by_its_name_or_kind(make_cine, trained, pattern, words):
    data = make_cine(4)
    if pattern and pattern != "mask.npz":
        data = with_mask(data, torch.from_numpy(parse_mask(pattern).draw(8, 24, 1)))
    texts = outside_training(Card(masks=trained), data, pattern)
    assert bool(texts) == bool(words)
    assert all(words in text for text in texts)


def test_a_full_scan_is_of_no_pattern(make_cine):
    assert outside_training(Card(masks=("vds:8",)), make_cine(4, per_frame=None), "full") == []


@pytest.mark.parametrize("pattern", ["gaussian:8", "equispaced:4,fixed", "equispaced:4", "radial:16", "vds:8"])
def test_shipped_weights_know_the_patterns_they_are_tested_with(pattern):
    card = read_model("slrnet")[0].card
    mask = torch.from_numpy(parse_mask(pattern).draw(12, 128, 128))
    data = CineData(torch.zeros(12, 8, 128, 128, dtype=torch.complex64), mask, torch.zeros(8, 128, 128) + 0j)
    assert outside_training(card, data, pattern) == outside_training(card, data) == []


def test_other_weights_bring_their_own_card(model):
    settings = ("architecture.n_cascades=1", "architecture.n_channels=2")
    assert load_method(str(model[0]), settings, weights=model[0]).config.card == CARD
    other = model[0].with_name("other.safetensors")
    write_model(other, model[1].state_dict(), ModelConfig(network="slrnet", card=Card(coils=(1, 1))))
    assert load_method(str(model[0]), settings, weights=other).config.card == Card(coils=(1, 1))


def test_the_card_lists_the_training_data():
    card = Card().with_training_data(["a" * 64, "b" * 64], [hash_subject("a001"), hash_subject("")])
    assert (len(card.cases), len(card.subjects)) == (2, 1)
    assert card.training_overlap(["c" * 64, "a" * 64], "a001") == ["trained on this scan"]
    assert card.training_overlap(["c" * 64], "a001") == ["trained on a subject of this name"]
    assert card.training_overlap(["c" * 64], "b002") == card.training_overlap(["c" * 64], "") == []
    assert Card().with_training_data(card.cases, card.subjects) == card
