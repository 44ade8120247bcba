"""Training: the recipe, the loop, the run folder."""

from cinerecon.training.batches import Places
from cinerecon.training.estimate import Estimate, estimate
from cinerecon.training.loop import begin, train
from cinerecon.training.losses import loss_of
from cinerecon.training.recipe import Recipe, TrainConfig, find_recipe, read_recipe
from cinerecon.training.sources import require_used
from cinerecon.training.state import State, Step, descend, schedule

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
    "require_used",
    "schedule",
    "train",
]
