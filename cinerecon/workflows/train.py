"""Training: one loop that reads from top to bottom.

Every step draws new patches, masks and noise, so no pattern is ever seen twice. A run folder holds the resolved recipe,
a log, and the last state (to resume from); the averaged weights are what is exported.
"""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import yaml
from pydantic import Field
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.config import Config, read_yaml
from cinerecon.errors import CineReconError, FileError
from cinerecon.methods.table import load_method
from cinerecon.methods.unrolled import RECIPE, WEIGHTS, Card, ModelConfig, load_weights, write_model
from cinerecon.workflows.dataset import PARTS, Batch, Batches, DataConfig, load_batches, open_pool

LAST = "last.pt"
LOG = "log.csv"


class TrainConfig(Config):
    """How to train."""

    n_steps: int = Field(10_000, ge=1, description="optimiser steps")
    batch_size: int = Field(1, ge=1, description="strips per step, see data.n_windows")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    n_warmup: int = Field(200, ge=0, description="steps of linear warm-up")
    loss: Literal["mse", "rmse"] = Field("mse", description="mean squared error, or per patch its square root")
    symmetry_weight: float = Field(0.0, ge=0, description="weight of the transform's symmetry term (SLR-Net: 0.01)")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    average: float = Field(0.999, ge=0, lt=1, description="decay of the running average of the weights")
    save_every: int = Field(250, ge=1, description="steps between checkpoints, each with a validation")
    n_validation: int = Field(8, ge=1, description="fixed batches of cases that training never sees")
    seed: int = Field(0, description="seed of weights, patches, masks and noise")
    data: DataConfig = Field(default_factory=DataConfig, description="what to train on")


class Recipe(ModelConfig):
    """A model and its training: the content of ``model.yaml``."""

    training: TrainConfig = Field(default_factory=TrainConfig, description="how to train")


@dataclass
class State:
    """What changes from step to step.

    Attributes
    ----------
    net, average
        The network, and the one that holds the running average of its weights.
    optimizer
        With its moments.
    done
        Optimiser steps taken.
    """

    net: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    done: int = 0

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What has a state of its own, by name."""
        return {"net": self.net, "average": self.average, "optimizer": self.optimizer}


@dataclass(frozen=True)
class Step:
    """What the loop reports.

    Attributes
    ----------
    number
        Optimiser steps done.
    loss
        Mean training loss since the last report.
    psnr
        PSNR of the averaged weights on the validation patches [dB].
    seconds
        Wall time of this process so far [s].
    """

    number: int
    loss: float
    psnr: float
    seconds: float


def train(
    recipe: Recipe,
    run: Path,
    *,
    real: Path | None = None,
    cases: Path | None = None,
    workers: int = 0,
    weights: Path | None = None,
    resume: bool = False,
    max_seconds: float = math.inf,
    report: Callable[[Step], None] = lambda _: None,
) -> None:
    """Train a network and leave its weights in a run folder.

    Parameters
    ----------
    recipe
        Architecture and training.
    run
        Folder for recipe, log, state and weights; made if missing.
    real
        Folder of measured magnitude cines, for a source ``series`` that names none.
    cases
        Folder where simulated cines are kept; None means ``cases/`` in the run folder.
    workers
        Processes that draw batches ahead of time; batches are the same with any number of them.
    weights
        Weights to begin with, to fine-tune a network; None means random ones.
    resume
        Continue from the last state.
    max_seconds
        Stop, resumable, after this time.
    report
        Called after each validation.

    Raises
    ------
    FileError
        If the folder holds a run already and `resume` is not asked for, or the other way round.
    CineReconError
        If the loss is not finite; the last checkpoint is kept.
    WeightsError
        If the weights to begin with do not fit.
    """
    config = recipe.training
    recipe = recipe.model_copy(update={"card": Card()})  # the card of the recipe is that of other weights
    if (run / LAST).exists() != resume:
        what = "there is a run already" if not resume else "there is nothing to resume"
        raise FileError(what, where=str(run), hint="--resume, or another folder")
    start = load_method(recipe.start.method, recipe.start.settings) if recipe.start else None
    seen, unseen = (open_pool(config.data, cases or run / "cases", part, real) for part in PARTS)
    drawn = Batches(seen, config.data, config.batch_size, (config.seed, 1), start)
    held_out = Batches(unseen, config.data, 1, (config.seed, 2), start)
    validation = [held_out[number] for number in range(config.n_validation)]

    state = begin(recipe, run, weights, resume=resume)
    losses, began, out_of_time = [], time.monotonic(), False
    for batch in load_batches(drawn, range(state.done, config.n_steps), workers):
        loss = loss_of(state.net, batch, config)
        if not torch.isfinite(loss):
            what = f"the loss is {loss.item()} at step {state.done}"
            raise CineReconError(what, where=str(run), hint="a smaller training.learning_rate")
        descend(state, loss, config)
        losses.append(loss.item())

        out_of_time = time.monotonic() - began > max_seconds
        if state.done % config.save_every == 0 or state.done == config.n_steps or out_of_time:
            psnr = validate(state.average, validation)
            step = Step(state.done, sum(losses) / len(losses), psnr, time.monotonic() - began)
            losses.clear()
            save(state, run, recipe)
            log(run / LOG, step)
            report(step)
        if out_of_time:
            break


def begin(recipe: Recipe, run: Path, weights: Path | None, *, resume: bool) -> State:
    """The state before the first step, or that of the last checkpoint."""
    torch.manual_seed(recipe.training.seed)
    net, average = (networks.build(recipe.network, recipe.architecture) for _ in range(2))
    if weights:
        load_weights(net, weights)
    average.load_state_dict(net.state_dict())
    state = State(net, average, torch.optim.Adam(net.parameters()))
    if resume:
        load(state, run)
    else:
        write_recipe(recipe, run)
    return state


def descend(state: State, loss: Tensor, config: TrainConfig) -> None:
    """One optimiser step at the learning rate of the schedule, with the gradient clipped; the average follows."""
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * schedule(state.done, config)
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.net.parameters(), config.clip_norm)
    state.optimizer.step()
    state.done += 1
    follow(state.average, state.net, min(config.average, state.done / (state.done + 10)))


def loss_of(net: nn.Module, batch: Batch, config: TrainConfig) -> Tensor:
    """The training loss of a batch: mean over real and imaginary parts, plus the symmetry term."""
    wants_symmetry = config.symmetry_weight > 0
    output = net(batch.kspace, batch.encoding, start=batch.start, extras=wants_symmetry)
    image, extras = output if wants_symmetry else (output, {})
    error = (image - batch.target).abs().square().mean((-3, -2, -1)) / 2
    loss = (error if config.loss == "mse" else (error + 1e-10).sqrt()).mean()
    for residual in extras.get("symmetry", []):
        loss = loss + config.symmetry_weight * residual.square().mean()
    return loss


def schedule(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to 1 % of the peak."""
    if step < config.n_warmup:
        return (step + 1) / config.n_warmup
    progress = (step - config.n_warmup) / max(config.n_steps - config.n_warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


@torch.no_grad()
def follow(average: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the present ones."""
    for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


@torch.no_grad()
def validate(net: nn.Module, batches: list[Batch]) -> float:
    """Mean PSNR over patches [dB], peak from the target."""
    values = []
    for batch in batches:
        error = (net(batch.kspace, batch.encoding, start=batch.start) - batch.target).abs().square().mean()
        values.append(10 * math.log10(float(batch.target.abs().max() ** 2 / error)))
    return sum(values) / len(values)


def write_recipe(recipe: Recipe, run: Path) -> None:
    """Write the resolved recipe into the run folder."""
    run.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    (run / RECIPE).write_text(text, encoding="utf-8")


def save(state: State, run: Path, recipe: Recipe) -> None:
    """Write what resuming needs, and the averaged weights with their recipe, each in one move."""
    parts = {LAST: run / f"{LAST}.part", WEIGHTS: run / f"{WEIGHTS}.part"}
    torch.save({name: part.state_dict() for name, part in state.parts.items()} | {"done": state.done}, parts[LAST])
    write_model(parts[WEIGHTS], state.average.state_dict(), recipe)
    for name, part in parts.items():
        part.replace(run / name)


def load(state: State, run: Path) -> None:
    """Read back what resuming needs."""
    saved = torch.load(run / LAST, weights_only=True)
    for name, part in state.parts.items():
        part.load_state_dict(saved[name])
    state.done = int(saved["done"])


def log(path: Path, step: Step) -> None:
    """Append one line to the log."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "validation_psnr_db", "seconds"])
        writer.writerow([step.number, f"{step.loss:.6g}", f"{step.psnr:.3f}", f"{step.seconds:.1f}"])


def read_recipe(path: Path, settings: list[str] | None = None) -> Recipe:
    """Read ``model.yaml`` and apply ``key=value`` settings."""
    return Recipe.parse(read_yaml(path), where=str(path)).with_settings(settings or [])
