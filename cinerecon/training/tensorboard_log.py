"""The log as TensorBoard shows it, where that is installed."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cinerecon.errors import ConfigError
from cinerecon.training.state import Step


def require_tensorboard(*, wanted: bool) -> None:
    """Check, before anything slow is done, that the log can be written where it is wanted.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """
    try:
        if wanted:
            import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        hint = "pip install 'cinerecon[tensorboard]'; log.csv is written in any case"
        raise ConfigError("TensorBoard is not installed", where="--tensorboard", hint=hint) from None


class Board:
    """Writes the log of a run for TensorBoard.

    Parameters
    ----------
    folder
        Where the events go.
    done
        Steps done already: what an interrupted run wrote after them is not shown.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=done + 1)

    def add(self, step: Step, picture: Image.Image) -> None:
        """Show one report."""
        values = {"loss": step.loss, "validation [dB]": step.validation, "learning rate": step.learning_rate}
        for name, value in values.items():
            self._writer.add_scalar(name, value, step.number)
        self._writer.add_image("validation", np.asarray(picture), step.number, dataformats="HW")
        self._writer.flush()
