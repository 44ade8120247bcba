"""The list of models: parameters, weights, and models without weights."""

from dataclasses import replace

import pytest
from published_form import BY_TITLE, small_network, write_published
from safetensors.torch import load_file

from cinerecon.methods.catalogue import describe_model, list_all_settings, list_models
from cinerecon.methods.model_file import WEIGHTS, load_weights, models_folder, read_model, write_model
from cinerecon.methods.published import import_model
from cinerecon.methods.table import METHODS
from cinerecon.networks import build
from cinerecon.training import read_recipe

DEEP = [name for name, method in METHODS.items() if method.kind == "deep"]
PUBLISHED = (
    "istanet",
    "dccnn",
    "crnn",
    "lsnet",
    "t2lrnet",
    "jotlasnet",
    "passnet",
    "istanet-lr",
    "dccnn-lr",
    "crnn-lr",
)
"""Networks of the literature, which are compared with SLR-Net after equal training."""
TRAINED = [name for name in DEEP if (models_folder() / name / WEIGHTS).exists()]


@pytest.fixture
def entries():
    return {entry.name: entry for entry in list_models()}


def test_every_method_is_listed(entries):
    assert list(entries) == list(METHODS)
    assert entries["ktslr"].weights == ""


@pytest.mark.parametrize("name", TRAINED)
def test_weights_fit_their_recipe_and_describe_themselves(entries, name):
    recipe, entry = read_recipe(models_folder() / name / "model.yaml"), entries[name]
    net = build(recipe.network, recipe.architecture)
    assert entry.weights == "shipped"
    load_weights(net, entry.path)
    assert entry.n_parameters == sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    assert (entry.card.licence, entry.card.source) == ("Apache-2.0", "this project")
    assert entry.card.masks
    assert entry.card.reports
    assert (entry.path.with_name("CARD.md")).is_file()


def test_weights_without_a_number_of_parameters_are_counted(entries, tmp_path):
    """Files that were written before the card had the number."""
    config, path = read_model("jotlasnet")
    card = config.card.model_copy(update={"n_parameters": None})
    write_model(tmp_path / "old.safetensors", load_file(path), config.model_copy(update={"card": card}))
    old = describe_model(str(tmp_path / "old.safetensors"))
    assert old.card.n_parameters is None
    assert old.n_parameters == entries["jotlasnet"].n_parameters == config.card.n_parameters


def test_models_stay_small():
    assert "slrnet" in TRAINED
    assert sum(path.stat().st_size for path in models_folder().rglob("*") if path.is_file()) < 40e6


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_networks_are_trained_alike(name):
    recipes = [read_recipe(models_folder() / model / "model.yaml") for model in (name, "istanet")]
    assert recipes[0].training == recipes[1].training
    assert recipes[0].initial_method == recipes[1].initial_method


def test_networks_without_weights_are_listed_as_such(entries):
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


@pytest.mark.parametrize("name", METHODS)
def test_each_listed_setting_is_taken_and_keeps_its_value(name):
    """Key and value as listed give the configuration that was listed."""
    entry = describe_model(name)
    texts = [f"{setting.key}={setting.value}" for setting in list_all_settings(entry)]
    again = entry.config.with_settings(texts)
    assert [(s.key, s.value) for s in list_all_settings(replace(entry, config=again))] == [
        tuple(text.split("=", 1)) for text in texts
    ]
    assert all(setting.help and setting.type != "any value" for setting in list_all_settings(entry))


def test_a_model_file_is_described_by_its_path(tmp_path):
    layout = BY_TITLE["SLR-Net"]
    path, _ = import_model(
        write_published(tmp_path / "SLR_Net-radial-16", layout, small_network(layout)), tmp_path / "x.safetensors"
    )
    entry = describe_model(str(path))
    assert (entry.name, entry.weights, entry.path) == ("x", "imported", path)
    assert describe_model(str(models_folder() / "slrnet")).weights == "trained"
