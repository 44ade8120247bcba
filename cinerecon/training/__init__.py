"""Training: the recipe, the data, the loop, the run folder."""

from cinerecon.training.batches import DataPaths
from cinerecon.training.estimate import Estimate, estimate
from cinerecon.training.loop import TrainCallbacks, TrainOptions, init_state, train
from cinerecon.training.losses import training_loss
from cinerecon.training.recipe import Recipe, TrainConfig, check_data_options, find_recipe, read_recipe
from cinerecon.training.state import State, Step, learning_rate_factor, optimizer_step

__all__ = [
    "DataPaths",
    "Estimate",
    "Recipe",
    "State",
    "Step",
    "TrainCallbacks",
    "TrainConfig",
    "TrainOptions",
    "check_data_options",
    "estimate",
    "find_recipe",
    "init_state",
    "learning_rate_factor",
    "optimizer_step",
    "read_recipe",
    "train",
    "training_loss",
]
