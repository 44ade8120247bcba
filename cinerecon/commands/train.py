"""The command ``cinerecon train``."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cinerecon.training import Estimate, Recipe


def train(
    recipe: Annotated[
        str, typer.Argument(help="Architecture and training: a model.yaml, its folder, or a name that models lists.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder: recipe, log, state, weights.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of prepared cases to train on, in place of the recipe's sources.")
    ] = None,
    scan: Annotated[
        list[Path] | None,
        typer.Option(help="Undersampled scan, or folder of scans or cases, to train on without truth: --loss ssdu."),
    ] = None,
    series: Annotated[
        list[Path] | None, typer.Option(help="Folder of measured magnitude cines (.npz) for the recipe; repeatable.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where simulated cines are kept, to be shared by runs.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw batches ahead of time.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Fine-tune these instead of starting at random.")] = None,
    loss: Annotated[str | None, typer.Option(help="mse, rmse or ssdu (without truth); as training.loss.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="e.g. training.n_steps=500")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, exactly.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write the log for TensorBoard, too.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Tell parameters, memory and time from a few steps, and stop.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0, help="Stop after this time, resumable; the schedule is that of training.n_steps.")
    ] = float("inf"),
) -> None:
    """Train a network by its recipe; in several processes by torchrun -m cinerecon.cli train ..."""
    from cinerecon.commands.announce_code import announce_code
    from cinerecon.commands.progress import progress_bar
    from cinerecon.errors import ConfigError
    from cinerecon.memory import keep_freed_memory
    from cinerecon.networks.external import code_file, is_external
    from cinerecon.training import (
        DataPaths,
        Step,
        TrainCallbacks,
        TrainOptions,
        check_data_options,
        find_recipe,
        read_recipe,
    )
    from cinerecon.training import estimate as estimate_run
    from cinerecon.training import train as run

    if data and scan:
        what = "--scan takes the place of all sources, and so does --data"
        raise ConfigError(what, where="--data, --scan", hint="leave out one; --scan takes a folder of cases, too")
    source = json.dumps({"data": {"kind": "prepared", "folder": str(data)}})
    settings = [f"training.data.sources={source}"] if data else []
    settings += [f"training.loss={loss}"] if loss else []
    path = find_recipe(recipe)
    asked = read_recipe(path, [*settings, *(setting or [])])
    scans, folders = tuple(scan or ()), tuple(series or ())
    check_data_options(asked, read_recipe(path), series=folders, scans=scans)
    keep_freed_memory()
    is_main_process = os.environ.get("RANK", "0") == "0"
    if is_main_process and is_external(asked.network):
        announce_code(code_file(asked.network))
    if not scans and is_main_process:
        _say_what_is_left_out(asked, folders)
    paths = DataPaths(cache or output / "cases", folders, scans)
    if estimate:
        _print_estimate(estimate_run(asked, paths, device=device, workers=workers), asked)
        return
    steps: list[Step] = []

    def report(step: Step) -> None:
        quality = f"loss {step.loss:.5f}  validation {step.validation:.2f} dB"
        print(f"step {step.number}  {quality}  {step.seconds:.0f} s", flush=True)
        steps.append(step)

    with progress_bar() as progress:
        options = TrainOptions(paths, weights, resume, workers, device, tensorboard, 60 * minutes)
        run(asked, output, options, TrainCallbacks(report, lambda text: print(text, flush=True), progress))
    if is_main_process:
        if steps and steps[-1].number < asked.training.n_steps:
            print(f"stopped  at step {steps[-1].number} of {asked.training.n_steps}; --resume goes on")
        print(f"wrote    {output}")


def _say_what_is_left_out(recipe: "Recipe", real: tuple[Path, ...]) -> None:
    from cinerecon.training.data import series_warnings

    left_out = [name for name, one in recipe.training.data.sources.items() if one.kind == "series" and not one.folder]
    if left_out and not real:
        print(f"note     left out, as there is no --series: {', '.join(left_out)}")
    for one in recipe.training.data.sources.values():
        for remark in series_warnings(one, real) if one.kind == "series" else ():
            print(f"note     {remark}")


def _print_estimate(found: "Estimate", recipe: "Recipe") -> None:
    ahead = {"ahead": f"{_duration(found.ahead_s)} to simulate {found.n_ahead:,} cases or batches"}
    lines = {
        "parameters": f"{found.n_parameters:,}",
        "memory": f"{found.memory_mb:,.0f} MB in these steps, on {found.device}",
        "step": f"{found.step_s:.3f} s, and {found.draw_s:.3f} s to draw its data",
        **(ahead if found.n_ahead else {}),
        "epoch": f"{_duration(found.epoch_s)} for {recipe.training.n_steps_per_epoch:,} steps",
        "run": f"{_duration(found.run_s)} for {recipe.training.n_steps:,} steps, validation left out",
    }
    for label, text in lines.items():
        print(f"{label:<11}{text}")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
