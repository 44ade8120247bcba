"""The command ``cinerecon models``, and ``cinerecon models import``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cinerecon.methods.catalogue import Entry

app = typer.Typer(invoke_without_command=True)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="The same for programs.")] = False,
) -> None:
    """List what --model takes: all methods, their trained weights, and the imported ones."""
    if context.invoked_subcommand:
        return
    from cinerecon.methods.catalogue import list_models

    entries = list_models()
    if as_json:
        print(json.dumps([_as_plain(entry) for entry in entries], indent=2))
    else:
        _print_table(entries)


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="TensorFlow checkpoint (folder, prefix or .index) of UnrollingNets-dMRI, JotlasNet or T2LR-Net, "
            "or .pth or .npz of Deep-MRI-Reconstruction."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File (.safetensors) or folder. Default: $CINERECON_MODELS or ~/.local/share/cinerecon/models, "
            "where --model finds it by its name.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Bring in published weights, as one file that --model takes. Nothing of the checkpoint is run."""
    from cinerecon.methods.published import import_model

    path, config = import_model(checkpoint, output, force=force)
    architecture = ", ".join(f"{key} {value}" for key, value in config.architecture.items())
    lines = {
        "network": f"{config.network}: {architecture}",
        "source": config.card.source,
        "licence": config.card.licence,
        "trained on": config.card.trained_on,
        "scale": config.scale,
        "sha256": config.card.sha256,
        "wrote": str(path),
        "use": f"--model {path.stem if output is None else path}",
    }
    for label, text in lines.items():
        print(f"{label:<11}{text}")


def _print_table(entries: "list[Entry]") -> None:
    """A line of columns for each method, and below it, indented, what it is and what its card tells."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    console = Console(highlight=False)
    width = max(len(entry.name) for entry in entries)
    console.print(f"[bold]{'name':<{width}}  kind       weights   parameters  licence[/]")
    for entry in entries:
        parameters = "" if entry.n_parameters is None else f"{entry.n_parameters:,}"
        columns = f"{entry.kind:<9}  {entry.weights:<8}  {parameters:>10}  {entry.card.licence}"
        console.print(f"[bold]{escape(entry.name):<{width}}[/]  {columns}".rstrip())
        told = {"trained on": entry.card.trained_on, "reports": entry.card.reports, "source": entry.card.source}
        about = [entry.summary, *(f"{label}: {text}" for label, text in told.items() if text)]
        console.print(Padding("\n".join(about), (0, 0, 0, 4)), style="dim", markup=False)


def _as_plain(entry: "Entry") -> dict[str, object]:
    return {**asdict(entry), "path": entry.path and str(entry.path), "card": entry.card.model_dump()}
