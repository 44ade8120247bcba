"""The command ``cinerecon evaluate``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cinerecon.evaluation import Failure, Score


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
    subject: Annotated[
        str,
        typer.Option(
            help=r"Regular expression for a subject in the path of a scan, e.g. 'P\d+'.", show_default="by the header"
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    setting: Annotated[list[str] | None, typer.Option("--set", help="Setting for every method, key=value.")] = None,
    recon: Annotated[
        list[Path] | None,
        typer.Option(help="Images instead of scans: .npz, .npy, ISMRMRD, NIfTI, DICOM; may be repeated."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The truth that --recon is compared with: images, or the scan that carries it.")
    ] = None,
) -> None:
    """Undersample full scans, reconstruct them with each method, and compare with the truth.

    Or compare images of any program with the truth: --recon a.npz --recon b.h5 --reference truth.npz.

    What fails is told, kept in failures.csv and in no table; the exit code is then 2. Run it again to try it again.
    """
    from rich.console import Console

    from cinerecon import evaluation as workflow
    from cinerecon.commands.announce_code import announce_models
    from cinerecon.commands.print_tables import print_tables
    from cinerecon.memory import keep_freed_memory

    keep_freed_memory()
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    n_pictures = pictures if output else 0

    def tell_kept(number: int) -> None:
        if number:
            console.print(f"kept     {number} score{'' if number == 1 else 's'} of an earlier run of this folder")

    layouts = [workflow.find_paper_table(name) for name in table or ()]
    failures: list[workflow.Failure] = []
    named: tuple[str, ...] = ()
    if recon or reference:
        given = {"--model": model, "--undersample": undersample, "--table": table, "--set": setting, "--seed": seed}
        given |= {"--subject": subject != "", "--device": device != "auto", "--workers": workers != 1}
        others = [*map(str, scans or ()), *(name for name, is_given in given.items() if is_given)]
        paths, truth = workflow.require_files(recon or [], reference, others)
        scores = workflow.compare_files(
            paths, truth, profile=profile or workflow.DEFAULT_PROFILE, output=output, pictures=n_pictures
        )
    else:
        request = workflow.complete_request(model or [], undersample or [], profile, layouts, baseline)
        for name in request.left_out:
            console.print(f"left out  {name}: {workflow.why_left_out(name)}")
        announce_models(request.models)
        found = workflow.evaluate(
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
            subject=subject,
            report=partial(_print_outcome, console),
            kept=tell_kept,
        )
        scores, failures, named = found.scores, found.failures, request.named
    extra = [laid_out for layout in layouts for laid_out in workflow.lay_out(layout, scores, named)]
    rest = workflow.left_over(layouts, scores, named)
    print_tables([*extra, *workflow.tables_of(rest, baseline, workflow.BRIEF, failures)])
    if failures:
        print_tables([workflow.tell_failures(failures, len(scores))])
    if output:
        results = workflow.write_results(scores, output, baseline=baseline, extra_tables=extra, failures=failures)
        for path in results:
            print(f"wrote    {path}")
    if failures:
        raise typer.Exit(2)


def _print_outcome(console: "Console", outcome: "Score | Failure") -> None:
    """One line for each score and each failure, as they are known."""
    from cinerecon.evaluation import Failure

    if isinstance(outcome, Failure):
        console.print(f"failed   {outcome.case}, {outcome.sampling}, {outcome.method}: {outcome.what}")
        return
    case = f"{outcome.scan} slice {outcome.slice}, {outcome.n_coils} coils, {outcome.sampling}, {outcome.method}"
    console.print(f"{case}: PSNR {outcome.psnr:.2f} dB, SSIM {outcome.ssim:.4f}, {outcome.seconds:.1f} s")
