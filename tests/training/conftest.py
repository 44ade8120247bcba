"""A small recipe, and what it trains on, that all tests of training share."""

import pytest
from small_recipe import RECIPE

from cinerecon.training import Recipe


@pytest.fixture(scope="session")
def make_recipe():
    """Makes the recipe with settings of training."""

    def make(*settings):
        return Recipe.parse(RECIPE).with_settings([f"training.{text}" for text in settings])

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="session")
def cases(folder):
    """Where simulated cases are kept, shared by all tests."""
    return folder / "cases"
