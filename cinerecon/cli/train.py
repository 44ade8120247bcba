"""The command ``cinerecon train``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cinerecon.workflows.train import Step


def train(
    recipe: Annotated[Path, typer.Argument(help="Architecture and training, a model.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder: recipe, log, state, weights.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of prepared cases to train on, in place of the recipe's sources.")
    ] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of measured magnitude cines (.npz) for the recipe.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Where simulated cines are kept, to be shared by runs.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that draw batches ahead of time.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Fine-tune these instead of starting at random.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="e.g. training.n_steps=500")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    minutes: Annotated[float, typer.Option(help="Stop after this time, resumable.")] = float("inf"),
) -> None:
    """Train a network by its recipe."""
    from cinerecon.workflows.train import read_recipe
    from cinerecon.workflows.train import train as run

    def report(step: "Step") -> None:
        print(
            f"step {step.number}  loss {step.loss:.5f}  validation {step.psnr:.2f} dB  {step.seconds:.0f} s", flush=True
        )

    source = json.dumps({"data": {"kind": "prepared", "folder": str(data)}})
    settings = read_recipe(recipe, [*([f"training.data.sources={source}"] if data else []), *(setting or [])])
    left_out = [name for name, one in settings.training.data.sources.items() if one.kind == "series" and not one.folder]
    if left_out and real is None:
        print(f"note     left out, as there is no --real: {', '.join(left_out)}")
    run(
        settings,
        output,
        real=real,
        cases=cases,
        workers=workers,
        weights=weights,
        resume=resume,
        max_seconds=60 * minutes,
        report=report,
    )
    print(f"wrote    {output}")
