"""A small recipe and its data, shared by all tests of training."""

import numpy as np
import pytest
from small_recipe import RECIPE

from cinerecon.training import Recipe


@pytest.fixture(scope="session")
def make_recipe():
    """Make the recipe with other settings of training."""

    def make(*settings):
        return Recipe.parse(RECIPE).with_settings([f"training.{text}" for text in settings])

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="session")
def cases(folder):
    """Folder of simulated cases, shared by all tests."""
    return folder / "cases"


@pytest.fixture
def write_series():
    """Write a magnitude series of four frames as a NumPy archive; random numbers if no frames are given."""

    def write(path, seed=0, magnitude=None, **texts):
        np.savez(
            path,
            magnitude=np.random.default_rng(seed).integers(1, 99, (4, 40, 60)) if magnitude is None else magnitude,
            trigger_time_ms=np.arange(4) * 30.0,
            pixel_spacing_mm=[1.5, 1.5],
            slice_thickness_mm=8.0,
            image_orientation_patient=[1.0, 0, 0, 0, 1, 0],
            image_position_patient=[0.0, 0, 0],
            **texts,
        )
        return path

    return write
