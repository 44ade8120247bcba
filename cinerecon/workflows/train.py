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
from typing import Any, Literal

import numpy as np
import torch
import yaml
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.config import Config, read_yaml
from cinerecon.errors import CineReconError, FileError
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.table import load_method
from cinerecon.methods.unrolled import RECIPE, WEIGHTS, ModelConfig, load_weights
from cinerecon.workflows.dataset import Batch, CaseConfig, PatchConfig, draw_batch, load_cases, make_cases

LAST = "last.pt"
LOG = "log.csv"


class TrainConfig(Config):
    """How to train."""

    n_steps: int = Field(10_000, ge=1, description="optimiser steps")
    batch_size: int = Field(1, ge=1, description="strips per step, see patches.n_windows")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule")
    n_warmup: int = Field(200, ge=0, description="steps of linear warm-up")
    loss: Literal["mse", "rmse"] = Field("mse", description="mean squared error, or per patch its square root")
    symmetry_weight: float = Field(0.0, ge=0, description="weight of the transform's symmetry term (SLR-Net: 0.01)")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    average: float = Field(0.999, ge=0, lt=1, description="decay of the running average of the weights")
    save_every: int = Field(250, ge=1, description="steps between checkpoints, each with a validation")
    n_validation: int = Field(8, ge=1, description="fixed patches of unseen phantoms")
    seed: int = Field(0, description="seed of weights, patches, masks and noise")
    cases: CaseConfig = Field(default_factory=CaseConfig, description="whole cines")
    patches: PatchConfig = Field(default_factory=PatchConfig, description="pieces of them")


class Recipe(ModelConfig):
    """A model and its training: the content of ``model.yaml``."""

    training: TrainConfig = Field(default_factory=TrainConfig, description="how to train")


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
        Folder of real magnitude cines, see `make_cases`.
    cases
        Folder where whole cines are kept; None means ``cases/`` in the run folder.
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
    if (run / LAST).exists() != resume:
        what = "there is a run already" if not resume else "there is nothing to resume"
        raise FileError(what, where=str(run), hint="--resume, or another folder")
    pool = load_cases(make_cases(cases or run / "cases", config.cases, real))
    start = load_method(recipe.start.method, recipe.start.settings) if recipe.start else None
    validation = draw_validation(config, run / "validation", start)

    torch.manual_seed(config.seed)
    net, average = (networks.build(recipe.network, recipe.architecture) for _ in range(2))
    if weights:
        load_weights(net, weights)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    if resume:
        done = load_state(run / LAST, net, average, optimizer)
    else:
        done = 0
        write_recipe(recipe, run)

    losses, began, out_of_time = [], time.monotonic(), False
    while done < config.n_steps and not out_of_time:
        rng = np.random.default_rng([config.seed, 1, done])
        batch = draw_batch(pool, config.patches, config.batch_size, rng, start)
        loss = loss_of(net, batch, config)
        if not torch.isfinite(loss):
            what = f"the loss is {loss.item()} at step {done}"
            raise CineReconError(what, where=str(run), hint="a smaller training.learning_rate")
        descend(net, optimizer, loss, config, done)
        follow(average, net, min(config.average, (done + 1) / (done + 11)))
        losses.append(loss.item())
        done += 1

        out_of_time = time.monotonic() - began > max_seconds
        if done % config.save_every == 0 or done == config.n_steps or out_of_time:
            psnr = validate(average, validation)
            step = Step(done, sum(losses) / len(losses), psnr, time.monotonic() - began)
            losses.clear()
            save_state(run / LAST, net, average, optimizer, done)
            save_weights(run / WEIGHTS, average)
            log(run / LOG, step)
            report(step)


def descend(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, config: TrainConfig, done: int) -> None:
    """One optimiser step at the learning rate of the schedule, with the gradient clipped."""
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * schedule(done, config)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
    optimizer.step()


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


def draw_validation(config: TrainConfig, folder: Path, start: Reconstructor | None) -> list[Batch]:
    """Fixed patches of phantoms that training never sees."""
    unseen = CaseConfig(
        n_phantoms=min(4, config.n_validation), matrix=config.cases.matrix, seed=config.cases.seed + 1000
    )
    pool, rng = load_cases(make_cases(folder, unseen)), np.random.default_rng([config.seed, 2])
    return [draw_batch(pool, config.patches, 1, rng, start) for _ in range(config.n_validation)]


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


def save_state(path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, done: int) -> None:
    """Write everything that resuming needs, in one move."""
    part = path.with_suffix(".part")
    state: dict[str, Any] = {"net": net.state_dict(), "average": average.state_dict(), "done": done}
    torch.save(state | {"optimizer": optimizer.state_dict()}, part)
    part.replace(path)


def save_weights(path: Path, net: nn.Module) -> None:
    """Write the weights alone, in one move."""
    part = path.with_suffix(".part")
    save_file(net.state_dict(), part)
    part.replace(path)


def load_state(path: Path, net: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Read the state back; the count of steps done."""
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["done"])


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
