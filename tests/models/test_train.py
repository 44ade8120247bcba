"""The settings of `models/train.py`."""

import runpy

from cinerecon.methods.model_file import models_folder
from cinerecon.training.recipe import read_recipe

TRAIN = runpy.run_path(str(models_folder() / "train.py"))


def test_all_variants_of_the_ablations_start_from_the_same_image():
    starts = set()
    for model, settings in TRAIN["ABLATIONS"].values():
        recipe = read_recipe(models_folder() / model / "model.yaml", (*TRAIN["VIEW_SHARED"], *settings))
        starts.add((recipe.initial_method.method, recipe.demodulate, recipe.phase_smoothing))
    assert starts == {("viewshared", True, 4.0)}
