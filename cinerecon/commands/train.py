"""The command ``cinerecon train``."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.errors import ConfigError
from cinerecon.options import TRAINING_WORKERS, DeviceOptions, Flag, Loss
from cinerecon.words import plural

if TYPE_CHECKING:
    from cinerecon.training import DataPaths, Estimate, Recipe, Step

MAX_WAIT_SHARE = 0.05
"""Fraction of time spent waiting for batches above which more processes are recommended."""


class TrainOptions(DeviceOptions):
    """Train a network from its recipe; several processes: torchrun -m cinerecon.cli train ..."""

    recipe: Annotated[str, Flag(is_argument=True)] = Field(
        description="recipe (architecture and training): a model.yaml, its folder, or a name listed by cinerecon models"
    )
    output: Annotated[Path, Flag(("--output", "-o"))] = Field(
        description="run folder for recipe, log, state and weights"
    )
    data: Path | None = Field(
        default=None, description="folder of prepared cases to train on, in place of the data sources in the recipe"
    )
    scans: Annotated[tuple[Path, ...], Flag(("--scan",))] = Field(
        default=(),
        description="undersampled scan, or folder of scans or cases, to train on without a reference (--loss ssdu)",
    )
    series: tuple[Path, ...] = Field(
        default=(), description="folder of measured magnitude cines for the recipe: DICOM, NIfTI, .npz; may be repeated"
    )
    cache: Path | None = Field(default=None, description="folder for simulated cines, which several runs can share")
    workers: int = Field(
        default=TRAINING_WORKERS, ge=0, description="number of processes that prepare batches in advance"
    )
    weights: Path | None = Field(default=None, description="weights to start from, instead of random ones")
    loss: Loss | None = Field(
        default=None, description="loss function: mse, rmse, log or ssdu (without a reference); same as training.loss"
    )
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="recipe setting, e.g. training.n_steps=500"
    )
    resume: bool = Field(
        default=False, description="resume from the last checkpoint, with the same results as an uninterrupted run"
    )
    tensorboard: bool = Field(default=False, description="also write the log for TensorBoard")
    estimate: bool = Field(default=False, description="report parameters, memory and time from a few steps, then stop")
    minutes: Annotated[float, Flag(default_text="no limit")] = Field(
        default=float("inf"),
        ge=0,
        allow_inf_nan=True,
        description="stop after this many minutes; --resume continues. The learning rate follows training.n_steps",
    )

    def data_paths(self) -> "DataPaths":
        """Folders of the training data."""
        from cinerecon.training import DataPaths

        return DataPaths(self.cache or self.output / "cases", self.series, self.scans)

    def all_settings(self) -> list[str]:
        """The settings, including those of other options.

        Raises
        ------
        ConfigError
            If two options replace the sources of the recipe.
        """
        if self.data and self.scans:
            what = "--scan and --data both replace the data sources of the recipe"
            raise ConfigError(what, where="--data, --scan", hint="use only one; --scan also accepts a folder of cases")
        source = json.dumps({"data": {"kind": "prepared", "folder": str(self.data)}})
        settings = [f"training.data.sources={source}"] if self.data else []
        settings += [f"training.loss={self.loss}"] if self.loss else []
        return [*settings, *self.settings]


def train(options: TrainOptions) -> None:
    """Train, or estimate memory and time, and print the validation of each epoch."""
    from cinerecon.memory import keep_freed_memory
    from cinerecon.training import check_data_options, find_recipe, read_recipe

    settings = options.all_settings()
    path = find_recipe(options.recipe)
    recipe = read_recipe(path, settings)
    check_data_options(recipe, read_recipe(path), series=options.series, scans=options.scans)
    keep_freed_memory()
    is_main_process = os.environ.get("RANK", "0") == "0"
    if not options.scans and is_main_process:
        _print_unused_sources(recipe, options.series)
    if options.estimate:
        _estimate(options, recipe)
    else:
        _train(options, recipe, is_main_process=is_main_process)


def _estimate(options: TrainOptions, recipe: "Recipe") -> None:
    from cinerecon.training import estimate

    _print_estimate(estimate(recipe, options.data_paths(), device=options.device, workers=options.workers), recipe)


def _train(options: TrainOptions, recipe: "Recipe", *, is_main_process: bool) -> None:
    from cinerecon.commands.console import progress_bar
    from cinerecon.training import Step, TrainCallbacks
    from cinerecon.training import TrainOptions as RunOptions
    from cinerecon.training import train as run

    steps: list[Step] = []

    def report(step: Step) -> None:
        quality = f"loss {step.loss:.5f}  validation {step.validation:.2f} dB"
        print(f"step {step.number}  {quality}  {step.seconds:.0f} s", flush=True)
        steps.append(step)

    paths, max_seconds = options.data_paths(), 60 * options.minutes
    run_options = RunOptions(
        paths, options.weights, options.resume, options.workers, options.device, options.tensorboard, max_seconds
    )
    with progress_bar() as progress:
        run(recipe, options.output, run_options, TrainCallbacks(report, lambda text: print(text, flush=True), progress))
    if is_main_process:
        if steps and steps[-1].number < recipe.training.n_steps:
            print(f"stopped  at step {steps[-1].number} of {recipe.training.n_steps}; --resume continues")
        if steps:
            print(_describe_waiting(steps[-1], options.workers))
            print(f"wrote    {options.output}")


def _describe_waiting(step: "Step", workers: int) -> str:
    """The time spent waiting for batches, with a hint if more processes would shorten it."""
    share = step.waited_seconds / step.seconds if step.seconds else 0.0
    hint = f"; try --workers {max(2 * workers, 1)}" if share > MAX_WAIT_SHARE else ""
    return f"waited   {step.waited_seconds:.1f} s of {step.seconds:.0f} s for batches ({share:.1%}){hint}"


app = app_of(TrainOptions, train)


def _print_unused_sources(recipe: "Recipe", series: tuple[Path, ...]) -> None:
    from cinerecon.training.data.series import series_warnings

    sources = recipe.training.data.sources
    left_out = [name for name, source in sources.items() if source.kind == "series" and not source.folder]
    if left_out and not series:
        names = f"{plural('source', len(left_out))} {', '.join(left_out)}"
        print(f"note     the recipe's {names} will not be used, as --series is not given")
    for source in sources.values():
        for remark in series_warnings(source, series) if source.kind == "series" else ():
            print(f"note     {remark}")


def _print_estimate(estimate: "Estimate", recipe: "Recipe") -> None:
    simulation = {"simulation": f"{_duration(estimate.ahead_s)} to simulate {estimate.n_ahead:,} cases or batches"}
    lines = {
        "parameters": f"{estimate.n_parameters:,}",
        "memory": f"{estimate.memory_mb:,.0f} MB in these steps, on {estimate.device}",
        "step": f"{estimate.step_s:.3f} s in {estimate.precision}, and {estimate.draw_s:.3f} s to generate its data",
        **(simulation if estimate.n_ahead else {}),
        "epoch": f"{_duration(estimate.epoch_s)} for {recipe.training.n_steps_per_epoch:,} steps",
        "run": f"{_duration(estimate.run_s)} for {recipe.training.n_steps:,} steps, without validation",
    }
    for label, text in lines.items():
        print(f"{label:<11}{text}")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
