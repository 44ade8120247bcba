"""What changes from step to step, and how: the optimiser, its schedule, the running average, the watch for divergence.

All that is random about a step follows from the seed and its number, so this is all that resuming needs.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import torch
from torch import nn

from cinerecon.errors import CineReconError
from cinerecon.training.muon import Muon, hidden_weights
from cinerecon.training.recipe import TrainConfig

SMOOTHING = 0.95
"""Decay of the running mean of the loss."""
PATIENCE = 50
"""Steps before divergence can be told from a bad start."""


@dataclass(frozen=True)
class Step:
    """What the loop reports, a line of the log.

    Attributes
    ----------
    number
        Optimiser steps done.
    loss
        Mean training loss since the last report.
    validation
        How good the averaged weights are on the validation patches, see `validate` [dB].
    learning_rate
        Of this step.
    seconds
        Time of training so far, in all sessions [s].
    """

    number: int
    loss: float
    validation: float
    learning_rate: float
    seconds: float


@dataclass
class State:
    """What changes from step to step.

    Attributes
    ----------
    net, average
        The network, and the one that holds the running average of its weights.
    optimizer
        With its moments.
    where
        The run, for errors.
    done
        Optimiser steps taken.
    losses
        Of the steps since the last report.
    log
        The reports so far.
    smooth, lowest
        Running mean of the loss, and its lowest value.
    """

    net: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    where: str = ""
    done: int = 0
    losses: list[float] = field(default_factory=list)
    log: list[Step] = field(default_factory=list)
    smooth: float = math.nan
    lowest: float = math.inf

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What has a state of its own, by name."""
        return {"net": self.net, "average": self.average, "optimizer": self.optimizer}

    @property
    def is_best(self) -> bool:
        """Whether no report before the last one was better."""
        return all(step.validation < self.log[-1].validation for step in self.log[:-1])

    def dump(self) -> dict[str, Any]:
        """All of it at a report, as tensors and plain values."""
        plain = {"done": self.done, "smooth": self.smooth, "lowest": self.lowest}
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {**parts, **plain, "log": [asdict(step) for step in self.log]}

    def restore(self, saved: Mapping[str, Any], config: TrainConfig) -> None:
        """Take over what `dump` gave; the optimiser keeps its moments, and goes on with the settings of now."""
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        for group in self.optimizer.param_groups:
            group |= settings_of(config)
        self.done, self.losses = int(saved["done"]), []
        self.smooth, self.lowest = float(saved["smooth"]), float(saved["lowest"])
        self.log = [Step(**values) for values in saved["log"]]


def make_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon for all that is learned."""
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if config.optimizer == "muon":
        return Muon(learned, hidden_weights(net), config.learning_rate, **settings_of(config))
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(learned, config.learning_rate, **settings_of(config))


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """What an optimiser does besides following the schedule of the learning rate."""
    return {"betas": config.betas, "eps": config.epsilon, "weight_decay": config.weight_decay}


def descend(state: State, config: TrainConfig) -> None:
    """One optimiser step along the gradients, clipped, at the learning rate of the schedule; the average follows.

    Raises
    ------
    CineReconError
        If a gradient is not finite; then the weights stay as they are.
    """
    norm = nn.utils.clip_grad_norm_(state.net.parameters(), config.clip_norm or math.inf)
    if not norm.isfinite():
        stop(state, f"the gradient is not finite at step {state.done + 1}")
    if config.reset_each_epoch and state.done % config.n_steps_per_epoch == 0:
        state.optimizer.state.clear()
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * schedule(state.done, config)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.done += 1
    follow(state.average, state.net, min(config.average, state.done / (state.done + 10)))


def watch(state: State, loss: float, config: TrainConfig) -> None:
    """Take note of the loss of a step about to be taken.

    Raises
    ------
    CineReconError
        If it is not finite, or its running mean has grown far beyond the lowest one.
    """
    if not math.isfinite(loss):
        stop(state, f"the loss is {loss} at step {state.done + 1}")
    state.losses.append(loss)
    state.smooth = loss if math.isnan(state.smooth) else SMOOTHING * state.smooth + (1 - SMOOTHING) * loss
    state.lowest = min(state.lowest, state.smooth)
    if state.done >= PATIENCE and state.smooth > config.divergence * state.lowest:
        grown = f"from {state.lowest:.3g} to {state.smooth:.3g}"
        stop(state, f"the loss diverges at step {state.done + 1}: its mean has grown {grown}")


def stop(state: State, what: str) -> NoReturn:
    """End a run whose numbers went wrong.

    Raises
    ------
    CineReconError
        Always.
    """
    slower = "a smaller training.learning_rate"
    hint = f"--resume with {slower}: the last checkpoint is as it was" if state.log else f"begin again with {slower}"
    raise CineReconError(what, where=state.where, hint=hint)


def schedule(step: int, config: TrainConfig) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine down to 1 %, a decay per epoch, or all of it."""
    if step < config.n_warmup:
        return (step + 1) / config.n_warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "exponential":
        return float(config.decay ** ((step - config.n_warmup) // config.n_steps_per_epoch))
    progress = (step - config.n_warmup) / max(config.n_steps - config.n_warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the present ones."""
    for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
