"""The table of models tells what is there, and what is not."""

import pytest
from published_form import BY_TITLE, small_network, write_published

from cinerecon.methods.base import models_folder
from cinerecon.methods.table import METHODS
from cinerecon.networks import build
from cinerecon.workflows.models import list_models
from cinerecon.workflows.train import read_recipe
from cinerecon.workflows.weights import import_model

TRAINABLE = {
    "istanet": 912_400,
    "istanet-lr": 912_408,
    "dccnn": 432_650,
    "dccnn-lr": 432_655,
    "crnn": 297_794,
    "crnn-lr": 297_799,
    "lsnet": 328_339,
    "t2lrnet": 259_244,
    "jotlasnet": 708_045,
    "passnet": 1_254_495,
}
"""Of the networks as published."""


@pytest.fixture
def entries():
    return {entry.name: entry for entry in list_models()}


def test_every_method_is_listed(entries):
    assert list(entries) == list(METHODS)
    assert entries["ktslr"].weights == ""
    assert entries["slrnet"].weights == "ours"
    assert entries["slrnet"].path.is_file()
    assert entries["slrnet"].card.licence == "Apache-2.0"
    assert entries["slrnet"].card.trained_on
    assert entries["slrnet"].card.reports


@pytest.mark.parametrize("name", TRAINABLE)
def test_networks_have_the_learned_numbers_of_their_papers(entries, name):
    assert entries[name].n_parameters == TRAINABLE[name]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kind == "deep"])
def test_every_recipe_can_be_trained(name):
    recipe = read_recipe(models_folder() / name / "model.yaml")
    build(recipe.network, recipe.architecture)


def test_what_comes_without_weights_says_so(entries):
    for entry in entries.values():
        assert (entry.path is None) == (entry.weights in ("", "none"))


def test_imported_models_are_listed_and_a_damaged_one_hides_none(tmp_path, imported_models):
    layout = BY_TITLE["SLR-Net"]
    import_model(write_published(tmp_path / "SLR_Net-radial-16", layout, small_network(layout)))
    (imported_models / "broken.safetensors").write_bytes(b"nothing")
    *_, broken, imported = list_models()
    assert (broken.name, broken.weights) == ("broken", "damaged")
    assert (imported.name, imported.weights) == ("slrnet-radial-16", "imported")
    assert imported.card.licence == "GPL-3.0"
    assert imported.summary == METHODS["slrnet"].summary
