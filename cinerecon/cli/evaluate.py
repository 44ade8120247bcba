"""The command ``cinerecon evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cinerecon.workflows.evaluate import Score, Table


def evaluate(
    scans: Annotated[
        list[Path] | None, typer.Argument(help="Fully sampled scans, prepared cases, or folders of them.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Method; may be repeated.")] = None,
    undersample: Annotated[
        list[str] | None, typer.Option(help="Sampling pattern, e.g. gaussian:8; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for scores, tables, figures and report.html; resumes in it."),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Method to test against. Default: the first --model.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Rules of measuring: cine, paper-slr, paper-pass, fastmri, cmrxrecon23, 24 or 25."),
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="Lay out as a paper's table, slr-1 to slr-5, pass-1 to pass-3; gives models and patterns."),
    ] = None,
    pictures: Annotated[int, typer.Option(help="Slices to draw, evenly chosen.", min=0)] = 2,
    workers: Annotated[
        int, typer.Option(help="Slices at the same time, on a share of the cores each; 0: as memory allows.", min=0)
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the sampling patterns.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Setting for every method, key=value.")] = None,
    recon: Annotated[
        list[Path] | None, typer.Option(help="Images instead of scans: .npz, .npy, ISMRMRD images; may be repeated.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="The truth that --recon is compared with.")] = None,
) -> None:
    """Undersample full scans, reconstruct them with each method, and compare with the truth.

    Or compare images of any program with the truth: --recon a.npz --recon b.h5 --reference truth.npz.
    """
    from rich.console import Console

    from cinerecon.workflows import evaluate as workflow

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    n_pictures = pictures if output else 0

    def report(score: "Score") -> None:
        case = f"{score.scan} slice {score.slice}, {score.n_coils} coils, {score.sampling}, {score.method}"
        console.print(f"{case}: PSNR {score.psnr:.2f} dB, SSIM {score.ssim:.4f}, {score.seconds:.1f} s")

    layouts = [workflow.find_paper_table(name) for name in table or ()]
    if recon or reference:
        paths, truth = workflow.require_files(recon or [], reference, [*(scans or []), *(model or [])])
        scores = workflow.compare_files(
            paths, truth, profile=profile or workflow.DEFAULT_PROFILE, output=output, pictures=n_pictures
        )
    else:
        request = workflow.complete_request(model or [], undersample or [], profile, layouts, baseline)
        for name in request.left_out:
            console.print(f"left out  {name}: no weights yet")
        scores = workflow.evaluate(
            scans or [],
            request.models,
            request.patterns,
            seed=seed,
            device=device,
            settings=tuple(setting or ()),
            profile=request.profile,
            workers=workers,
            output=output,
            pictures=n_pictures,
            report=report,
        )
    extra = [laid_out for layout in layouts for laid_out in workflow.lay_out(layout, scores)]
    shown = extra or workflow.tables_of(scores, baseline, workflow.BRIEF)
    for number, each in enumerate(shown):
        _print_table(each, is_last=number == len(shown) - 1)
    if output:
        for path in workflow.write_results(scores, output, baseline=baseline, extra_tables=extra):
            print(f"wrote    {path}")


def _print_table(table: "Table", *, is_last: bool) -> None:
    """On a terminal as wide as that is; into a file or pipe as wide as the table needs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=400)
    shown = RichTable(title=Text(table.caption), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="right" if index else "left", overflow="fold")
    for row in table.rows:
        styles = ["bright_black" if cell.is_foreign else "bold" if cell.is_best else "" for cell in row]
        shown.add_row(*(Text(cell.text, style) for cell, style in zip(row, styles, strict=True)))
    console.print(shown)
    for note in table.notes if is_last else ():
        _print_note(console, note)


def _print_note(console: "Console", note: str) -> None:
    from rich.text import Text

    console.print(Text(note, "bright_black"), soft_wrap=True)
