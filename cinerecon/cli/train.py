"""The command ``cinerecon train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cinerecon.workflows.train import Step


def train(
    recipe: Annotated[Path, typer.Argument(help="Architecture and training, a model.yaml.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder: recipe, log, state, weights.")],
    real: Annotated[Path | None, typer.Option(help="Folder of real magnitude cines (.npz) to train on too.")] = None,
    cases: Annotated[Path | None, typer.Option(help="Where whole cines are kept, to be shared by runs.")] = None,
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

    settings = read_recipe(recipe, setting or [])
    run(
        settings,
        output,
        real=real,
        cases=cases,
        weights=weights,
        resume=resume,
        max_seconds=60 * minutes,
        report=report,
    )
    print(f"wrote    {output}")
