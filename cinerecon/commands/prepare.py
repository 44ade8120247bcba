"""The command ``cinerecon prepare``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cinerecon.preparation import PrepareReport

TOLD = 5
"""Refusals told on the screen; all are in a file."""


def prepare(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Files or folders: ISMRMRD .h5, CMRxRecon .mat, magnitude DICOM, NIfTI or .npz."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the cases, their index and pictures.")],
    csm: Annotated[str | None, typer.Option(help="How coil maps are estimated: smooth, espirit or walsh.")] = None,
    compress_coils: Annotated[int | None, typer.Option(help="Compress to this many virtual coils.")] = None,
    compression: Annotated[
        str, typer.Option(help="pca, or geometric: anew at each position along the readout.")
    ] = "pca",
    combine: Annotated[
        str | None, typer.Option(help="Combine to one coil, then sample: adaptive (Walsh), espirit or smooth maps.")
    ] = None,
    crop_readout: Annotated[int | None, typer.Option(help="Columns to keep in the middle, e.g. 192.")] = None,
    crop: Annotated[str | None, typer.Option(help="Rows x columns to keep in the middle, e.g. 160x192.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames to keep, the first ones.")] = None,
    patch: Annotated[
        list[str] | None, typer.Option(help="Cut patches, frames x y x x, e.g. 16x192x192; may be repeated.")
    ] = None,
    stride: Annotated[str | None, typer.Option(help="Steps from patch to patch, e.g. 7x15x15; default half.")] = None,
    simulated_coils: Annotated[int, typer.Option(help="Coils simulated for magnitude images; 1 for none.")] = 8,
    seed: Annotated[int, typer.Option(help="Of what is simulated for magnitude images.")] = 0,
    subject: Annotated[
        str, typer.Option(help=r"Regular expression that finds the subject in the path, e.g. 'P\d+'.")
    ] = "",
    split: Annotated[
        str,
        typer.Option(help="Shares of train, val and test, or the name of one for all; a subject is in one of them."),
    ] = "80,10,10",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse zero-padded, interpolated and magnitude data, not only mark them.")
    ] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the preprocessing, preprocessing.key=value.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per processor if not given.")] = None,
    pictures: Annotated[bool, typer.Option(help="Draw a picture of each slice.")] = True,
    force: Annotated[
        bool,
        typer.Option("--force", help="Prepare anew what is named here; cases of other settings than now are removed."),
    ] = False,
) -> None:
    """Prepare scans of any archive as cases for training and evaluation: one HDF5 file per slice.

    Run it again to go on after an interruption, or to add scans: what is prepared already is kept.
    """
    from cinerecon.commands.progress import progress_bar
    from cinerecon.options import with_preprocessing
    from cinerecon.preparation import PrepareConfig, parse_sizes, parse_split
    from cinerecon.preparation import prepare as run

    preprocessing = with_preprocessing(PrepareConfig().intake, setting or ())
    options = {"compression": compression, "csm": csm, "n_virtual_coils": compress_coils}
    for (key, value), option in zip(options.items(), ("--compression", "--csm", "--compress-coils"), strict=True):
        preprocessing = (
            preprocessing if value is None else preprocessing.with_settings([f"{key}={value}"], where=option)
        )
    values: dict[str, Any] = {
        "intake": preprocessing.model_dump(),
        "combine": combine,
        "readout": crop_readout,
        "crop": crop and parse_sizes(crop, "rows x columns", "--crop"),
        "frames": frames,
        "patches": tuple(parse_sizes(text, "frames x y x x", "--patch") for text in patch or ()),
        "stride": stride and parse_sizes(stride, "frames x y x x", "--stride"),
        "simulated_coils": simulated_coils,
        "seed": seed,
        "person": subject,
        "split": parse_split(split),
        "strict": strict,
    }
    config = PrepareConfig.parse(values, where="prepare")
    with progress_bar() as progress:
        report = run(sources, output, config, workers=workers, force=force, draws=pictures, progress=progress)
    _print_report(report)
    if report.refused:
        raise typer.Exit(2)


def _print_report(report: "PrepareReport") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from cinerecon.preparation import SPLITS

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for heading in ("subjects", "slices", "cases"):
        table.add_column(heading, justify="right")
    for name in SPLITS:
        table.add_row(name, *map(str, report.count(name)))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    kept = len(report.rows) - report.n_new
    print(f"\n{report.n_new} cases prepared" + (f", {kept} were there already" if kept else ""))
    for reason, count in report.passed.items():
        print(f"passed over  {count} {reason}")
    n_slices = len({(row.source_sha256, row.slice) for row in report.rows})
    for text, count in report.warnings.items():
        share = "" if count >= n_slices else f"{count} of {n_slices} slices: "
        console.print(f"[yellow]warning[/]  {share}{escape(text)}")
    if report.n_unknown_persons > 1:
        files = f"{report.n_unknown_persons} files"
        text = f"the subject is unknown in {files}: each counts as a subject (--subject finds it in the path)"
        console.print(f"[yellow]warning[/]  {text}")
    print(f"wrote    {report.index}")
    for refusal in report.refused[:TOLD]:
        print(f"refused  {refusal.what}\nwhere    {refusal.where or refusal.path}", file=sys.stderr)
        if refusal.hint:
            print(f"try      {refusal.hint}", file=sys.stderr)
    if len(report.refused) > TOLD:
        rest = len(report.refused) - TOLD
        print(f"refused  {rest} more, see {report.index.with_name('refused.csv')}", file=sys.stderr)
