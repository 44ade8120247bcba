"""The benchmark of the training data measures steps and sources of any recipe."""

import data
from small_recipe import RECIPE

from cinerecon.training import Recipe
from cinerecon.training.data.config import PhantomSource


def test_steps_and_rates_are_measured(tmp_path):
    recipe = Recipe.parse(RECIPE | {"initial_method": {"method": "viewshared"}})
    source = PhantomSource(n_cases=2, matrix=(40, 40), n_coils=2, mask="gaussian:3")
    batches = data.open_batches(recipe, source, tmp_path)
    assert batches.size == 2
    step, initial = data.time_step(recipe, batches, 1)
    assert step > 0 and initial >= 0
    assert data.rate(batches, n_workers=0, n_batches=1) > 0


def test_phantoms_are_stored_unless_they_are_simulated_for_each_batch():
    assert data.is_stored(PhantomSource())
    assert not data.is_stored(PhantomSource(keep=False))
