"""The command ``cinerecon models``, with ``models show`` and ``models import``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from cinerecon.commands.console import print_labelled, terminal_width, wrap
from cinerecon.commands.from_options import command
from cinerecon.options import Flag, Options

if TYPE_CHECKING:
    from cinerecon.methods.catalogue import ModelEntry, Setting

INDENT = "    "

app = typer.Typer(invoke_without_command=True, add_completion=False)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the names that --model accepts, one per line. Details: cinerecon models show NAME."""
    if context.invoked_subcommand:
        return
    from cinerecon.methods.catalogue import list_models

    entries = list_models()
    if as_json:
        print(json.dumps([_as_plain(entry) for entry in entries], indent=2))
    else:
        _print_list(entries)


class ShowOptions(Options):
    """Show the description of a method, the training data and quality of its weights, or its settings."""

    name: Annotated[str, Flag(is_argument=True)] = Field(
        description="method as for --model: a name from the list, a model file or folder, or a class in a Python file"
    )
    settings: bool = Field(
        default=False, description="list the settings that --set accepts, with type, default and description"
    )
    as_json: Annotated[bool, Flag(("--json",))] = Field(default=False, description="print the description as JSON")


def show(options: ShowOptions) -> None:
    """Print the description of a method, or its settings."""
    from cinerecon.methods.catalogue import describe_model, list_all_settings

    entry = describe_model(options.name)
    if options.as_json:
        plain = _as_plain(entry)
        if options.settings:
            plain = {"name": entry.name, "settings": [asdict(setting) for setting in list_all_settings(entry)]}
        print(json.dumps(plain, indent=2, ensure_ascii=False))
    elif options.settings:
        _print_settings(entry.name, list(list_all_settings(entry)))
    else:
        _print_details(options.name, entry)


class ImportOptions(Options):
    """Convert published weights to one file for --model. Code in the checkpoint is never executed."""

    checkpoint: Annotated[Path, Flag(is_argument=True)] = Field(
        description="TensorFlow checkpoint (folder, prefix or .index) of UnrollingNets-dMRI, JotlasNet or T2LR-Net, "
        "or a .pth or .npz file of Deep-MRI-Reconstruction"
    )
    output: Annotated[
        Path | None,
        Flag(("--output", "-o"), default_text="$CINERECON_MODELS or ~/.local/share/cinerecon/models"),
    ] = Field(
        default=None,
        description="file (.safetensors) or folder to write; --model finds models in the default folder by name",
    )
    force: bool = Field(default=False, description="overwrite an existing file")


def import_weights(options: ImportOptions) -> None:
    """Import the weights, and print their network, source and licence."""
    from cinerecon.methods.published import import_model

    output = options.output
    path, config = import_model(options.checkpoint, output, force=options.force)
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


app.command("show")(command(ShowOptions, show))
app.command("import")(command(ImportOptions, import_weights))


def _print_list(entries: "list[ModelEntry]") -> None:
    """One line per method; a summary is truncated to the width of the terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, soft_wrap=True)
    names, width = max(len(entry.name) for entry in entries), terminal_width()
    console.print(Text(f"{'name':<{names}}  {'weights':<9}  parameters  method", "bold"))
    for entry in entries:
        parameters = "" if entry.n_parameters is None else f"{entry.n_parameters:,}"
        line = f"{entry.name:<{names}}  {entry.weights or 'classical':<9}  {parameters:>10}  {entry.summary}"
        shown = Text(line if width is None or len(line) <= width else line[: width - 1] + "…")
        shown.stylize("bold", 0, len(entry.name))
        console.print(shown)


def _print_details(name: str, entry: "ModelEntry") -> None:
    from cinerecon.methods.model_file import ModelConfig, with_portable_code

    card, model = entry.card, with_portable_code(entry.config) if isinstance(entry.config, ModelConfig) else None
    lines = {
        "name": entry.name,
        "method": entry.summary,
        "kind": entry.kind,
        "weights": {"none": "none yet", "": "not needed"}.get(entry.weights, entry.weights),
        "file": str(entry.path or ""),
        "parameters": "" if entry.n_parameters is None else f"{entry.n_parameters:,}",
        "network": "" if model is None else ", ".join((model.network, *map(_pair, model.architecture.items()))),
        "starts from": model.initial_method.method if model and model.initial_method else "",
        "licence": card.licence,
        "source": card.source,
        "trained on": card.trained_on,
        "sampling": ", ".join(card.masks),
        "acceleration": _span(card.acceleration),
        "coils": _span(card.coils),
        "lines": _span(card.lines),
        "reports": card.reports,
        "settings": f"cinerecon models show {name} --settings",
    }
    for label, text in lines.items():
        if text:
            print_labelled(label, text)


def _print_settings(name: str, settings: "list[Setting]") -> None:
    from cinerecon.methods.catalogue import ARCHITECTURE

    if not settings:
        print(f"{name} has no settings")
    for setting in settings:
        print(f"{setting.key}={setting.value}")
        print(wrap(f"{setting.type}: {setting.help}" if setting.help else setting.type, INDENT, INDENT))
    if any(setting.key.startswith(ARCHITECTURE) for setting in settings):
        print(wrap(f"the weights fit {ARCHITECTURE}* as listed; other values are for training"))


def _pair(item: tuple[str, object]) -> str:
    return f"{item[0]} {item[1]}"


def _span(values: tuple[float, float] | None) -> str:
    return "" if values is None else " to ".join(f"{value:g}" for value in dict.fromkeys(values))


def _as_plain(entry: "ModelEntry") -> dict[str, object]:
    values = {name: value for name, value in vars(entry).items() if name != "config"}
    return {**values, "path": entry.path and str(entry.path), "card": entry.card.model_dump()}
