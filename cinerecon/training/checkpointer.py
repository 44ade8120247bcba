"""Checkpoints of a training: validation, weights, log and picture, in the run folder and for TensorBoard."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cinerecon.errors import ConfigError
from cinerecon.methods.card import Card
from cinerecon.training.data.batch import Batch
from cinerecon.training.recipe import Recipe
from cinerecon.training.run_folder import RunFolder
from cinerecon.training.state import State, Step, fail, learning_rate_factor
from cinerecon.training.validation import reconstruct, validate


def require_tensorboard(*, enabled: bool) -> None:
    """Check that TensorBoard is installed if its log is enabled, before the training starts.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """
    try:
        if enabled:
            import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        hint = "pip install 'cinerecon[tensorboard]'; log.csv is always written"
        raise ConfigError("TensorBoard is not installed", where="--tensorboard", hint=hint) from None


class TensorBoardLog:
    """Log of a run as TensorBoard events.

    Parameters
    ----------
    folder
        Folder of the events.
    n_steps_done
        Optimizer steps taken so far; events of later steps, left by an interrupted run, are hidden.
    """

    def __init__(self, folder: Path, n_steps_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=n_steps_done + 1)

    def add(self, step: Step, picture: Image.Image) -> None:
        """Add a validation with its picture."""
        values = {"loss": step.loss, "validation [dB]": step.validation, "learning rate": step.learning_rate}
        for name, value in values.items():
            self._writer.add_scalar(name, value, step.number)
        self._writer.add_image("validation", np.asarray(picture), step.number, dataformats="HW")
        self._writer.flush()


@dataclass
class Checkpointer:
    """Validates the averaged weights and writes checkpoints, in the main process only.

    Attributes
    ----------
    folder, recipe, card
        Run folder, recipe, and card with the description of the data.
    validation
        Batches of cases that training never uses.
    n_batches_per_step
        Number of batches per step over all processes.
    tensorboard
        The log for TensorBoard, if it is enabled.
    on_validation
        Called after each validation with its results.
    seconds
        Duration of this session up to the last checkpoint [s].
    """

    folder: RunFolder
    recipe: Recipe
    card: Card
    validation: list[Batch]
    n_batches_per_step: int
    tensorboard: TensorBoardLog | None = None
    on_validation: Callable[[Step], None] = lambda _: None
    seconds: float = 0.0

    def save(self, state: State, seconds: float) -> None:
        """Validate the averaged weights and write a checkpoint.

        Parameters
        ----------
        state
            The state after a step.
        seconds
            Duration of this session [s].

        Raises
        ------
        CineReconError
            If an image of the network is not finite; then nothing is written.
        """
        config = self.recipe.training
        before, waited = (state.log[-1].seconds, state.log[-1].waited_seconds) if state.log else (0.0, 0.0)
        rate = config.learning_rate * learning_rate_factor(state.n_steps_done - 1, config)
        quality = validate(state.ema_net, self.validation)
        if math.isnan(quality) or quality == -math.inf:
            fail(state, f"the image of the network is not finite at step {state.n_steps_done}")
        loss = sum(state.losses) / len(state.losses)
        waited += state.waited_seconds
        step = Step(state.n_steps_done, loss, quality, rate, before + seconds - self.seconds, waited)
        self.seconds = seconds
        state.log.append(step)
        self.folder.save(state, self.recipe, self.card, self.n_batches_per_step)
        image = reconstruct(state.ema_net, self.validation[0])
        name = self.recipe.network.rpartition(":")[2]  # without the file of an external network
        picture = self.folder.draw(self.validation[0], image, f"{name}, step {state.n_steps_done}")
        if self.tensorboard:
            self.tensorboard.add(step, picture)
        self.on_validation(step)
