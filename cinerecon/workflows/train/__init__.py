"""Training: the recipe, the loop, the run folder."""

from cinerecon.workflows.train.config import Recipe, TrainConfig, find_recipe, read_recipe
from cinerecon.workflows.train.estimate import Estimate, estimate
from cinerecon.workflows.train.feed import Places
from cinerecon.workflows.train.loop import begin, train
from cinerecon.workflows.train.losses import loss_of
from cinerecon.workflows.train.state import State, Step, descend, schedule

__all__ = [
    "Estimate",
    "Places",
    "Recipe",
    "State",
    "Step",
    "TrainConfig",
    "begin",
    "descend",
    "estimate",
    "find_recipe",
    "loss_of",
    "read_recipe",
    "schedule",
    "train",
]
