"""The recipes of networks as large as published: their sizes, and that their training can be read."""

import importlib.util
from pathlib import Path

import pytest

from cinerecon import networks
from cinerecon.training.recipe import read_recipe

TRAIN = Path(__file__).parents[2] / "models" / "train.py"
N_LEARNED = {
    "slrnet": 912_424,
    "istanet": 912_400,
    "istanet-lr": 912_408,
    "dccnn": 432_650,
    "dccnn-lr": 432_655,
    "crnn": 297_794,
    "crnn-lr": 297_799,
    "lsnet": 328_339,
    "t2lrnet": 259_230,
    "jotlasnet": 708_045,
    "passnet": 1_254_495,
}
"""The papers' numbers, or those of the authors' programs."""


@pytest.fixture(scope="module")
def program():
    specification = importlib.util.spec_from_file_location("models_train", TRAIN)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", N_LEARNED)
def test_a_network_is_as_large_as_published(program, tmp_path, name):
    shipped = TRAIN.parent / name / "model.yaml"
    path = program.write_recipe(
        program.as_published(program.read_recipe_values(shipped)), program.PUBLISHED, tmp_path / "model.yaml"
    )
    recipe = read_recipe(path)
    net = networks.build(recipe.network, recipe.architecture)
    n_learned = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
    assert n_learned == N_LEARNED[name]
    assert recipe.initial_method is None and recipe.training.n_steps == 50 * recipe.training.n_steps_per_epoch


def test_every_network_is_among_them(program):
    assert set(program.NETWORKS) == set(N_LEARNED)
