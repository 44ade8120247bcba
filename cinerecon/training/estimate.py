"""Estimate of the memory and duration of a training, from a few of its steps."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cinerecon.machine import peak_memory_mb, pick_device
from cinerecon.networks.unrolled import count_parameters
from cinerecon.options import DEVICE, TRAINING_WORKERS
from cinerecon.training.batches import DataPaths, open_training_data
from cinerecon.training.data.workers import Cacheable, fill_cache
from cinerecon.training.loop import init_state
from cinerecon.training.losses import training_loss, trains_in_bfloat16
from cinerecon.training.recipe import Recipe
from cinerecon.training.state import optimizer_step

N_TIMED_STEPS = 2


@dataclass(frozen=True)
class Estimate:
    """Memory and duration of a training.

    Attributes
    ----------
    device, precision
        Device of the measurement, and precision of its convolutions.
    n_parameters
        Number of learned parameters.
    memory_mb
        Peak memory [MB]; on a CPU, this is the memory of the whole process.
    step_s
        Time of a step without drawing its batches [s].
    draw_s
        Time to draw the batches of a step from existing cases [s]; it is divided by the number of `workers`.
    n_ahead, ahead_s
        Number of cases or batches to be simulated before the first step, without those in the cache, and the time for
        this simulation [s].
    epoch_s, run_s
        Time of an epoch and of all steps [s]; if there are workers, each batch is drawn during the preceding step.
        `run_s` includes `ahead_s`.
    """

    device: str
    precision: str
    n_parameters: int
    memory_mb: float
    step_s: float
    draw_s: float
    n_ahead: int
    ahead_s: float
    epoch_s: float
    run_s: float


def estimate(
    recipe: Recipe, paths: DataPaths | None = None, *, device: str = DEVICE, workers: int = TRAINING_WORKERS
) -> Estimate:
    """Estimate memory and duration from the first steps of a training; their results are discarded.

    Raises
    ------
    CineReconError
        As for `train`.
    """
    config, name = recipe.training, pick_device(device)
    with tempfile.TemporaryDirectory() as folder:
        data = open_training_data(recipe, paths or DataPaths(Path(folder)))
        state = init_state(recipe, None, name)
        missing = data.uncached()
        ahead = len(missing) * _mean_time(missing) / max(workers, 1)
        steps, draws = [], []
        for number in range(N_TIMED_STEPS + 1):
            data.batches[number]  # fills the caches
            start = time.perf_counter()
            batch = data.batches[number].to(name)
            drawn = time.perf_counter()
            training_loss(state.net, batch, config).backward()
            optimizer_step(state, config)
            if name.startswith("cuda"):
                torch.cuda.synchronize()
            steps.append(time.perf_counter() - drawn)
            draws.append(drawn - start)
    step, draw = (config.n_batches * sum(times[1:]) / N_TIMED_STEPS for times in (steps, draws))
    each = max(step, draw / workers) if workers else step + draw  # the first of each is a warm-up and omitted
    n_parameters = count_parameters(state.net)
    epoch, run = each * config.n_steps_per_epoch, each * config.n_steps + ahead
    precision = "bfloat16" if trains_in_bfloat16(config, name) else "float32"
    return Estimate(name, precision, n_parameters, peak_memory_mb(name), step, draw, len(missing), ahead, epoch, run)


def _mean_time(items: Sequence[Cacheable]) -> float:
    """Mean time to simulate an item [s], from a few items spread over the list, without the first one (warm-up)."""
    chosen = items[:: max(1, len(items) // N_TIMED_STEPS)][: N_TIMED_STEPS + 1]
    times = []
    for item in chosen:
        begun = time.perf_counter()
        fill_cache([item])
        times.append(time.perf_counter() - begun)
    times = times[1:] or times
    return sum(times) / max(len(times), 1)
