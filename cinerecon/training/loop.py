"""The training loop.

Every step draws new patches, masks and noise, so that no sampling pattern is used twice. The saved weights are the
exponential moving average of the weights over the steps.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from cinerecon import networks
from cinerecon.errors import ConfigError
from cinerecon.external import is_external
from cinerecon.io.output_folder import sole_writer
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.machine import deferred_interruption
from cinerecon.methods.card import Card
from cinerecon.methods.external import hash_code
from cinerecon.methods.model_file import WEIGHTS, load_weights
from cinerecon.networks import bfloat16
from cinerecon.options import DEVICE, TRAINING_WORKERS
from cinerecon.physics.operators import Encoding
from cinerecon.training.batches import DataPaths, TrainingData, open_training_data, training_preprocessing
from cinerecon.training.card import list_data
from cinerecon.training.checkpointer import Checkpointer, TensorBoardLog, require_tensorboard
from cinerecon.training.data.batch import Batch
from cinerecon.training.data.config import DataConfig, parse_crop
from cinerecon.training.data.workers import fill_cache
from cinerecon.training.distributed import ProcessGroup, join_process_group
from cinerecon.training.gradient_check import check_weight_gradients
from cinerecon.training.losses import training_loss, trains_in_bfloat16
from cinerecon.training.recipe import Recipe, TrainConfig
from cinerecon.training.run_folder import RunFolder
from cinerecon.training.state import State, Step, check_divergence, make_optimizer, optimizer_step
from cinerecon.training.validation import measure_baselines, require_baseline

TRIAL_SIZE, TRIAL_FRAMES = 64, 8
"""Lines or columns, and frames, to which an external network is applied as a trial if the recipe uses all of them."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training that do not belong to its recipe.

    Attributes
    ----------
    paths
        Folders of data that are not specified in the recipe; None means simulated cines in ``cases/`` in the run
        folder.
    weights
        Initial weights, or their folder, for fine-tuning; None means random weights.
    resume
        Continue from the last checkpoint, with the same result as without an interruption (in bfloat16 up to rounding,
        as each process chooses the fastest algorithm of the weight gradient).
    workers
        Processes that draw batches ahead of time. The batches do not depend on their number.
    device
        ``auto``, ``cpu`` or ``cuda``.
    tensorboard
        Whether to write a log for TensorBoard as well.
    max_seconds
        Time after which the training stops with a checkpoint [s].
    """

    paths: DataPaths | None = None
    weights: Path | None = None
    resume: bool = False
    workers: int = TRAINING_WORKERS
    device: str = DEVICE
    tensorboard: bool = False
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", as_path(self.weights, "weights"))
        if self.workers < 0:
            raise ConfigError(f"workers is {self.workers}, expected at least 0", where="workers")


@dataclass(frozen=True)
class TrainCallbacks:
    """Functions that the training calls.

    Attributes
    ----------
    on_validation
        Called after each validation.
    on_message
        Called with messages for the user, one line each.
    on_progress
        Called with the current task and the fraction of it that is completed.
    """

    on_validation: Callable[[Step], None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None
    on_progress: Callable[[str, float], None] = lambda *_: None


def train(
    recipe: Recipe,
    run: AnyPath,
    options: TrainOptions | None = None,
    callbacks: TrainCallbacks | None = None,
) -> None:
    """Train a network, with ``torchrun`` in several processes, and write its weights into a run folder.

    Parameters
    ----------
    recipe
        Architecture and training.
    run
        The run folder, which is created if it does not exist.
    options
        Options that do not belong to the recipe.
    callbacks
        Functions that the training calls.

    Raises
    ------
    FileError
        If the folder already contains a run and `resume` is not set, if it contains no run and `resume` is set, or if
        another process uses it.
    CineReconError
        If the loss or a gradient is not finite, or the loss diverges; the last checkpoint remains.
    ConfigError
        If the loss needs a reference and the data have none, a run is resumed with other data or weights, or
        TensorBoard is missing.
    WeightsError
        If the initial weights do not fit the network.
    """
    run, recipe = as_path(run, "run"), Recipe.require(recipe)
    options, callbacks = options or TrainOptions(), callbacks or TrainCallbacks()
    paths, deadline = options.paths or DataPaths(run / "cases"), time.monotonic() + options.max_seconds
    config, folder = recipe.training, RunFolder(run)
    resume = folder.require(resume=options.resume, weights=options.weights, note=callbacks.on_message)
    require_tensorboard(enabled=options.tensorboard)
    require_baseline(config)
    recipe = _with_provenance(recipe, paths)
    listed = list_data(config.data, paths.series, paths.scans)
    with join_process_group(options.device) as group, sole_writer(run) if group.is_main_process else nullcontext():
        data = open_training_data(recipe, paths)
        state = init_state(recipe, None if resume else options.weights, group.device, str(run))
        group.barrier()
        if resume:
            if not _continue_run(folder, recipe, listed, state, group, callbacks.on_message):
                return
        elif group.is_main_process:
            folder.create(recipe, listed, group.device, options.weights)
        simulate_data(data, group, options.workers, deadline, callbacks)
        loop = Loop(config, group, deadline, callbacks.on_progress)
        batches = data.load(config, state.n_steps_done, group, options.workers)
        if group.is_main_process:
            validation = [batch.to(group.device) for batch in data.draw_validation()]
            metrics = measure_baselines(config, data, validation, callbacks.on_message)
            card = data.card.model_copy(update={"licence": config.licence, "metrics": metrics})
            card = folder.complete_card(card, listed, options.weights)
            log = TensorBoardLog(run / "tensorboard", state.n_steps_done) if options.tensorboard else None
            n_batches = group.size * config.n_batches
            loop.checkpointer = Checkpointer(folder, recipe, card, validation, n_batches, log, callbacks.on_validation)
        loop.run(state, batches)


def _continue_run(
    folder: RunFolder,
    recipe: Recipe,
    listed: str,
    state: State,
    group: ProcessGroup,
    on_message: Callable[[str], None],
) -> bool:
    """Load the last checkpoint of a run and report changed settings; returns False if the run is finished."""
    config = recipe.training
    folder.load(state, config, group.size * config.n_batches)
    group.barrier()
    is_finished = state.n_steps_done >= config.n_steps
    if group.is_main_process:
        for change in folder.continue_run(recipe, listed, state.n_steps_done):
            on_message(f"{'ignored' if is_finished else 'changed'}  {change}")
        if is_finished:
            text = f"the run has {state.n_steps_done} steps already; a larger training.n_steps continues the run"
            on_message(f"finished {text}")
    return not is_finished


def _with_provenance(recipe: Recipe, paths: DataPaths) -> Recipe:
    """The recipe with the preprocessing and code of this training, without the card, which belongs to other weights."""
    preprocessing = recipe.preprocessing if paths.scans else training_preprocessing(recipe)
    update = {"card": Card(), "preprocessing": preprocessing, "code_sha256": hash_code(recipe)}
    return recipe.model_copy(update=update)


def simulate_data(
    data: TrainingData, group: ProcessGroup, workers: int, deadline: float, callbacks: TrainCallbacks
) -> None:
    """Simulate the cases or batches that are not in the cache yet, distributed over the processes.

    After the deadline (by `time.monotonic` [s]), the remaining ones are simulated in the steps that need them.
    """
    items = data.uncached()
    message = callbacks.on_message if group.is_main_process else lambda _: None
    message(f"cases    {data.card.split}")
    if items:
        message(f"data     simulating {len(items)} cases or batches before the first step; they are stored for reuse")
    start = time.monotonic()
    progress = lambda part: callbacks.on_progress("simulating training data", part)  # noqa: E731
    fill_cache(items[group.rank :: group.size], workers, progress, deadline)
    group.barrier()
    if items:
        message(f"data     simulated in {time.monotonic() - start:.0f} s")


@dataclass
class Loop:
    """The loop over the remaining steps.

    Attributes
    ----------
    config, group
        Settings of the training, and its processes.
    deadline
        Time by `time.monotonic` after which the loop stops with a checkpoint [s].
    on_progress
        Called after each step.
    checkpointer
        Writes checkpoints; None in all processes but the first.
    """

    config: TrainConfig
    group: ProcessGroup
    deadline: float = math.inf
    on_progress: Callable[[str, float], None] = lambda *_: None
    checkpointer: Checkpointer | None = None

    def run(self, state: State, batches: Iterator[Batch]) -> None:
        """Take the remaining steps; after the deadline or an interruption, stop with a checkpoint."""
        config, start = self.config, time.monotonic()
        with deferred_interruption() as is_interrupted:
            while state.n_steps_done < config.n_steps:
                loss = self.accumulate(state, batches)
                is_stopped = float(is_interrupted() or time.monotonic() > self.deadline)
                loss, n_stopped = self.group.average_gradients(state.net, loss, is_stopped)
                check_divergence(state, loss, config)
                optimizer_step(state, config)
                if self.checkpointer:
                    self.on_progress(f"step {state.n_steps_done}", state.n_steps_done / config.n_steps)

                is_last = n_stopped > 0 or state.n_steps_done == config.n_steps
                if is_last or state.n_steps_done % config.save_every == 0:
                    if self.checkpointer:
                        self.checkpointer.save(state, time.monotonic() - start)
                    state.losses.clear()
                    state.waited_seconds = 0.0
                if n_stopped:
                    break

    def accumulate(self, state: State, batches: Iterator[Batch]) -> float:
        """Accumulate the gradients of the mean loss of the next batches of a step, and return the loss.

        The gradients equal those of one batch with all patches. The time spent waiting for the batches is recorded.

        Raises
        ------
        ConfigError
            If the image of the network does not depend on its weights.
        """
        total = 0.0
        for _ in range(self.config.n_batches):
            start = time.perf_counter()
            batch = next(batches)
            state.waited_seconds += time.perf_counter() - start
            loss = training_loss(state.net, batch.to(self.group.device), self.config) / self.config.n_batches
            if not loss.requires_grad:
                hint = "it must have parameters, and must not return its initial image or a detached tensor"
                raise ConfigError(
                    "the image of the network does not depend on its weights", where=state.where, hint=hint
                )
            loss.backward()
            total += loss.item()
        return total


def init_state(
    recipe: Recipe, weights: Path | None = None, device: torch.device | str = "cpu", where: str = ""
) -> State:
    """Create the state before the first step.

    Parameters
    ----------
    recipe
        Architecture and training.
    weights
        Initial weights, or their folder; None means random weights.
    device
        Device of the network.
    where
        Name of the run, for error messages.

    Raises
    ------
    WeightsError
        If the initial weights do not fit the network.
    ConfigError
        If the network or one of its settings is unknown, an external network does not return an image, or the device
        does not support the precision.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(recipe.training.seed)
        net, ema_net = (networks.build(recipe.network, recipe.architecture) for _ in range(2))
    if weights:
        load_weights(net, weights / WEIGHTS if weights.is_dir() else weights)
    ema_net.load_state_dict(net.state_dict())
    net, ema_net = net.to(device), ema_net.to(device).eval()
    if is_external(recipe.network):
        _try_network(ema_net, recipe.training.data, device)
    if recipe.training.precision == "bfloat16" and not bfloat16.is_native(device):
        _refuse_or_warn_of_emulation(torch.device(device))
    if trains_in_bfloat16(recipe.training, device):
        check_weight_gradients(net)
    return State(net, ema_net, make_optimizer(net, recipe.training), where)


def _refuse_or_warn_of_emulation(device: torch.device) -> None:
    """Refuse a GPU without bfloat16; warn if a CPU emulates it, which takes several times as long as float32."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError("this GPU has no bfloat16", where="training.precision", hint="auto or float32")
    what = "this device emulates bfloat16, which is slower than float32; training.precision=auto selects the faster one"
    warnings.warn(what, stacklevel=2)


def _try_network(net: nn.Module, config: DataConfig, device: torch.device | str) -> None:
    """Apply a network to k-space of the size of a patch, so that its errors are found before data are simulated."""
    ky, kx = (size or TRIAL_SIZE for size in parse_crop(next(iter(config.crops))))
    kspace = torch.ones(1, config.n_frames or TRIAL_FRAMES, 1, ky, kx, dtype=torch.complex64, device=device)
    encoding = Encoding(torch.ones(1, 1, 1, ky, 1, dtype=torch.bool, device=device), matrix=(ky, kx))
    with torch.no_grad():
        net(kspace, encoding, start=encoding.adjoint(kspace))
