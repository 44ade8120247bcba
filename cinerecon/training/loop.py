"""Training: one loop that reads from top to bottom.

Every step draws new patches, masks and noise, so no pattern is ever seen twice. The averaged weights are what is kept.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from cinerecon import networks
from cinerecon.errors import ConfigError
from cinerecon.machine import deferred_interruption
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import WEIGHTS, load_weights
from cinerecon.methods.table import load_method
from cinerecon.networks.external import is_external, load_external
from cinerecon.training.batches import Feed, Places, intake_of, open_feed, reconstruct, validate, validate_method
from cinerecon.training.card import list_data
from cinerecon.training.data import Batch, make_ready
from cinerecon.training.distributed import Team, join_team
from cinerecon.training.losses import loss_of
from cinerecon.training.recipe import Recipe, TrainConfig
from cinerecon.training.run_folder import RunFolder
from cinerecon.training.state import State, Step, descend, make_optimizer, schedule, stop, watch
from cinerecon.training.tensorboard_log import Board, require_tensorboard


def train(
    recipe: Recipe,
    run: Path,
    *,
    real: tuple[Path, ...] = (),
    cases: Path | None = None,
    scans: tuple[Path, ...] = (),
    workers: int = 0,
    weights: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    max_seconds: float = math.inf,
    report: Callable[[Step], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
    progress: Callable[[str, float], None] = lambda *_: None,
) -> None:
    """Train a network and leave its weights in a run folder, see `folder`. Under ``torchrun``, in several processes.

    Parameters
    ----------
    recipe
        Architecture and training.
    run
        Folder of the run; made if missing.
    real
        Folders of measured magnitude cines, for a source ``series`` that names none.
    cases
        Folder where simulated cines are kept; None means ``cases/`` in the run folder.
    scans
        Undersampled scans, or folders of scans or prepared cases, to train on without truth (loss ``ssdu``) in place of
        the recipe's sources. One scan is enough.
    workers
        Processes that draw batches ahead of time; batches are the same with any number of them.
    weights
        Weights to begin with, or the folder they are in, to fine-tune a network; None means random ones.
    resume
        Continue from the last state, exactly as if there had been no interruption.
    device, tensorboard
        ``auto``, ``cpu`` or ``cuda``; write the log for TensorBoard, too.
    max_seconds
        Stop, resumable, after this time.
    report, note, progress
        Called after each validation; with what is worth knowing before the first step; after each step.

    Raises
    ------
    FileError
        If the folder holds a run already and `resume` is not asked for, or the other way round.
    CineReconError
        If the loss or a gradient is not finite, or the loss diverges; the last checkpoint is kept.
    ConfigError
        If there is no truth for a loss that needs one, a run is resumed with other data or weights, or TensorBoard is
        missing.
    WeightsError
        If the weights to begin with do not fit.
    """
    config, folder, deadline = recipe.training, RunFolder(run), time.monotonic() + max_seconds
    resume = folder.require(resume=resume, weights=weights, note=note)
    require_tensorboard(wanted=tensorboard)
    intake = recipe.preprocessing if scans else intake_of(recipe)
    code = load_external(recipe.network).code_sha256 if is_external(recipe.network) else None
    own = {"card": Card(), "preprocessing": intake, "code_sha256": code}  # the recipe's card is that of other weights
    recipe = recipe.model_copy(update=own)
    data = list_data(config.data, real, scans)
    with join_team(device) as team:
        feed = open_feed(recipe, Places(cases or run / "cases", real, scans))
        state = begin(recipe, None if resume else weights, team.device, str(run))
        team.wait()
        n_shares = team.size * config.n_batches
        if resume:
            folder.load(state, config, n_shares)
            team.wait()
            for change in folder.go_on(recipe, data, state.done) if team.leads else ():
                note(f"changed  {change}")
        elif team.leads:
            folder.begin(recipe, data, team.device, weights)
        simulate_ahead(feed, team, workers, deadline, note, progress)
        batches = feed.load(config, state.done, team, workers)
        keeper = None
        if team.leads:
            validation = [batch.to(team.device) for batch in feed.draw_validation()]
            described = {"licence": config.licence, "metrics": measure_baselines(config, feed, validation, note)}
            card = folder.complete(feed.card.model_copy(update=described), data, weights)
            board = Board(run / "tensorboard", state.done) if tensorboard else None
            keeper = Keeper(folder, recipe, card, validation, n_shares, board, report, progress)
        take_steps(state, batches, config, team, deadline, keeper)


def simulate_ahead(
    feed: Feed,
    team: Team,
    workers: int,
    deadline: float,
    note: Callable[[str], None],
    progress: Callable[[str, float], None],
) -> None:
    """Simulate all that the steps will draw from and that is not kept in files yet; each process does its share.

    What is missing after the deadline is simulated when a step needs it.
    """
    missing = feed.missing()
    note = note if team.leads else lambda _: None
    note(f"cases    {feed.card.split}")
    if missing:
        note(f"ahead    {len(missing)} cases or batches are simulated before the first step, and kept for other runs")
    began = time.monotonic()
    make_ready(missing[team.rank :: team.size], workers, lambda part: progress("simulated ahead", part), deadline)
    team.wait()
    if missing:
        note(f"ahead    ended after {time.monotonic() - began:.0f} s")


def measure_baselines(
    config: TrainConfig, feed: Feed, validation: list[Batch], note: Callable[[str], None]
) -> dict[str, float]:
    """What the first image reaches on the validation, and the method that the network is compared with [dB]."""
    metrics = {"first_image_db": round(validate(None, validation), 3)}
    note(f"first image  validation {metrics['first_image_db']:.2f} dB, without the network")
    if config.compared_with:
        reached = validate_method(load_method(config.compared_with), feed.draw_as_measured())
        metrics[f"{config.compared_with}_db"] = round(reached, 3)
        note(f"{config.compared_with}  validation {reached:.2f} dB")
    return metrics


def take_steps(
    state: State,
    batches: Iterator[Batch],
    config: TrainConfig,
    team: Team,
    deadline: float = math.inf,
    keeper: "Keeper | None" = None,
) -> None:
    """The loop: take the steps that are left, or stop with a checkpoint after the deadline or an interruption."""
    began = time.monotonic()
    with deferred_interruption() as is_interrupted:
        while state.done < config.n_steps:
            loss = 0.0
            for batch in islice(batches, config.n_batches):
                part = loss_of(state.net, batch.to(team.device), config) / config.n_batches
                part.backward()
                loss += part.item()
            loss, late = team.average(state.net, loss, float(is_interrupted() or time.monotonic() > deadline))
            watch(state, loss, config)
            descend(state, config)
            if keeper:
                keeper.progress(f"step {state.done}", state.done / config.n_steps)

            if late or state.done % config.save_every == 0 or state.done == config.n_steps:
                if keeper:
                    keeper.keep(state, time.monotonic() - began)
                state.losses.clear()
            if late:
                break


@dataclass
class Keeper:
    """What is done now and then besides taking steps: validate, log, save, show. The first process does it.

    Attributes
    ----------
    folder, recipe, card
        Where the run is kept, what it is, and what is known of its data.
    validation
        Batches of cases that training never sees.
    n_shares
        Batches in a step, over all processes.
    board, report, progress
        Who is told.
    """

    folder: RunFolder
    recipe: Recipe
    card: Card
    validation: list[Batch]
    n_shares: int
    board: Board | None
    report: Callable[[Step], None]
    progress: Callable[[str, float], None] = lambda *_: None
    seconds: float = 0.0

    def keep(self, state: State, seconds: float) -> None:
        """Judge the averaged weights, and write everything; `seconds` are those of this session."""
        config, before = self.recipe.training, state.log[-1].seconds if state.log else 0.0
        rate = config.learning_rate * schedule(state.done - 1, config)
        quality = validate(state.average, self.validation)
        if math.isnan(quality) or quality == -math.inf:
            stop(state, f"the network makes an image that is not finite at step {state.done}")
        loss = sum(state.losses) / len(state.losses)
        step = Step(state.done, loss, quality, rate, before + seconds - self.seconds)
        self.seconds = seconds
        state.log.append(step)
        self.folder.save(state, self.recipe, self.card, self.n_shares)
        image = reconstruct(state.average, self.validation[0])
        picture = self.folder.draw(self.validation[0], image, f"{self.recipe.network}, step {state.done}")
        if self.board:
            self.board.add(step, picture)
        self.report(step)


def begin(recipe: Recipe, weights: Path | None = None, device: torch.device | str = "cpu", where: str = "") -> State:
    """The state before the first step.

    Raises
    ------
    WeightsError
        If the weights to begin with do not fit.
    ConfigError
        If the network or a setting of it is unknown, or the device cannot compute as asked for.
    """
    torch.manual_seed(recipe.training.seed)
    net, average = (networks.build(recipe.network, recipe.architecture) for _ in range(2))
    if weights:
        load_weights(net, weights / WEIGHTS if weights.is_dir() else weights)
    average.load_state_dict(net.state_dict())
    net, average = net.to(device), average.to(device)
    is_gpu = torch.device(device).type == "cuda"
    if recipe.training.precision == "bfloat16" and is_gpu and not torch.cuda.is_bf16_supported():
        raise ConfigError("this GPU has no bfloat16", where="training.precision", hint="float32")
    return State(net, average, make_optimizer(net, recipe.training), where)
