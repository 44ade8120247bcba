"""State of a training: optimizer, learning rate schedule, moving average of the weights, check for divergence.

All random numbers of a step follow from the seed and the number of the step, so that this state is sufficient to resume
a training.
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

LOSS_EMA_DECAY = 0.95
"""Decay of the running mean of the loss."""
N_STEPS_BEFORE_CHECK = 50
"""Number of steps before which divergence cannot be distinguished from a large initial loss."""


@dataclass(frozen=True)
class Step:
    """Results of a validation, which are one line of the log.

    Attributes
    ----------
    number
        Number of optimizer steps taken.
    loss
        Mean training loss since the last report.
    validation
        Quality of the averaged weights on the validation patches, see `validate` [dB].
    learning_rate
        Learning rate of this step.
    seconds
        Time of training so far, in all sessions [s].
    waited_seconds
        The part of this time spent waiting for batches [s]; with several processes, that of the first process.
    """

    number: int
    loss: float
    validation: float
    learning_rate: float
    seconds: float
    waited_seconds: float = 0.0


@dataclass
class State:
    """State of a training between steps.

    Attributes
    ----------
    net, ema_net
        The network, and a copy with the running average of its weights.
    optimizer
        The optimizer with its moments.
    where
        Name of the run, for error messages.
    n_steps_done
        Number of optimizer steps taken.
    losses
        Losses of the steps since the last validation.
    waited_seconds
        Time spent waiting for batches since the last validation [s].
    log
        The results of all validations so far.
    loss_ema, lowest_loss_ema
        Running mean of the loss, and its lowest value.
    """

    net: nn.Module
    ema_net: nn.Module
    optimizer: torch.optim.Optimizer
    where: str = ""
    n_steps_done: int = 0
    losses: list[float] = field(default_factory=list)
    waited_seconds: float = 0.0
    log: list[Step] = field(default_factory=list)
    loss_ema: float = math.nan
    lowest_loss_ema: float = math.inf

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Modules and optimizer that have a state, by their names in checkpoints."""
        return {"net": self.net, "average": self.ema_net, "optimizer": self.optimizer}

    @property
    def is_best(self) -> bool:
        """Whether the last validation is the best so far."""
        return all(step.validation < self.log[-1].validation for step in self.log[:-1])

    def dump(self) -> dict[str, Any]:
        """The state at a validation, as tensors and plain values."""
        plain = {"done": self.n_steps_done, "smooth": self.loss_ema, "lowest": self.lowest_loss_ema}
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        return {**parts, **plain, "log": [asdict(step) for step in self.log]}

    def restore(self, saved: Mapping[str, Any], config: TrainConfig) -> None:
        """Restore a state from `dump`; the moments of the optimizer are restored, but not its settings."""
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        for group in self.optimizer.param_groups:
            group |= optimizer_settings(config)
        self.n_steps_done, self.losses, self.waited_seconds = int(saved["done"]), [], 0.0
        self.loss_ema, self.lowest_loss_ema = float(saved["smooth"]), float(saved["lowest"])
        self.log = [Step(**values) for values in saved["log"]]


def make_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Create Adam, AdamW or Muon for all learned parameters."""
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if config.optimizer == "muon":
        return Muon(learned, hidden_weights(net), config.learning_rate, **optimizer_settings(config))
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(learned, config.learning_rate, **optimizer_settings(config))


def optimizer_settings(config: TrainConfig) -> dict[str, Any]:
    """Settings of the optimizer other than the learning rate."""
    return {"betas": config.betas, "eps": config.epsilon, "weight_decay": config.weight_decay}


def optimizer_step(state: State, config: TrainConfig) -> None:
    """Take one optimizer step with clipped gradients and the scheduled learning rate, and update the average.

    Raises
    ------
    CineReconError
        If a gradient is not finite; the weights are then unchanged.
    """
    norm = nn.utils.clip_grad_norm_(state.net.parameters(), config.clip_norm or math.inf)
    if not norm.isfinite():
        fail(state, f"the gradient is not finite at step {state.n_steps_done + 1}")
    if config.reset_each_epoch and state.n_steps_done % config.n_steps_per_epoch == 0:
        state.optimizer.state.clear()
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * learning_rate_factor(state.n_steps_done, config)
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.n_steps_done += 1
    update_ema(state.ema_net, state.net, min(config.ema_decay, state.n_steps_done / (state.n_steps_done + 10)))


def check_divergence(state: State, loss: float, config: TrainConfig) -> None:
    """Record the loss of the next step, and check it for divergence.

    Raises
    ------
    CineReconError
        If the loss is not finite, or its running mean is far above its lowest value.
    """
    if not math.isfinite(loss):
        fail(state, f"the loss is {loss} at step {state.n_steps_done + 1}")
    state.losses.append(loss)
    state.loss_ema = (
        loss if math.isnan(state.loss_ema) else LOSS_EMA_DECAY * state.loss_ema + (1 - LOSS_EMA_DECAY) * loss
    )
    state.lowest_loss_ema = min(state.lowest_loss_ema, state.loss_ema)
    if state.n_steps_done >= N_STEPS_BEFORE_CHECK and state.loss_ema > config.divergence_factor * state.lowest_loss_ema:
        grown = f"from {state.lowest_loss_ema:.3g} to {state.loss_ema:.3g}"
        fail(state, f"the loss diverges at step {state.n_steps_done + 1}: its mean has grown {grown}")


def fail(state: State, what: str) -> NoReturn:
    """Stop a run with an error and a hint on how to resume it.

    Raises
    ------
    CineReconError
        Always.
    """
    slower = "a smaller training.learning_rate"
    hint = f"--resume with {slower}: the last checkpoint is unchanged" if state.log else f"start again with {slower}"
    hint = (
        hint
        if state.n_steps_done
        else "no step has been completed: check the initial weights, the network and the data"
    )
    raise CineReconError(what, where=state.where, hint=hint)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Fraction of the peak learning rate: linear warm-up, then cosine decay to 1 %, decay per epoch, or constant."""
    if step < config.n_warmup:
        return (step + 1) / config.n_warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "exponential":
        return float(config.lr_decay ** ((step - config.n_warmup) // config.n_steps_per_epoch))
    progress = (step - config.n_warmup) / max(config.n_steps - config.n_warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


@torch.no_grad()
def update_ema(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Update the exponential moving average of the weights; buffers, such as running statistics, are copied."""
    for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for target, source in zip(average.buffers(), net.buffers(), strict=True):
        target.copy_(source)
