"""The command ``cinerecon recon``."""

import json
import logging
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

DEFAULT_MODEL = "slrnet"
FRUGAL_METHODS = ("zerofilled", "cgsense")
"""Methods that gain little time from keeping the memory of freed arrays."""

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from cinerecon.reconstruction import Batch, Outcome, ReconRequest


def recon(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN...",
            help="Raw scan (ISMRMRD, .h5), CMRxRecon file (.mat) or prepared case; or folders of them.",
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A name of `cinerecon models`, a model file or folder; may be repeated. Default: slrnet.",
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            help="May be repeated; the ending decides: .h5 .nii.gz .npz .gif .mp4 .png, or a folder for DICOM. "
            "Default: .h5, .mp4 and .png beside the scan. Of several scans or methods: a folder for all, -o out/; "
            "several methods on one scan also side by side, -o compare.mp4.",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="Files of each scan in the folder: .h5 .nii.gz .npz .gif .mp4 .png dicom."),
    ] = None,
    slices: Annotated[
        list[int] | None, typer.Option("--slice", help="Only this slice, counted from 0; may be repeated.")
    ] = None,
    frames: Annotated[str, typer.Option(help="Only these frames, first:last, the last not included.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    csm: Annotated[
        str | None,
        typer.Option(
            help="How coil maps are estimated: smooth, espirit or walsh. Default: as the model says, or smooth."
        ),
    ] = None,
    noise: Annotated[Path | None, typer.Option(help="Separate noise scan, ISMRMRD.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Group to read, where the file holds several.")] = None,
    undersample: Annotated[
        str | None, typer.Option(help="Undersample a full scan first: gaussian:8,acs=4 or a mask.npz.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights in place of the model's own.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Setting of the method, key=value, or of the preprocessing, preprocessing.key=value."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling pattern.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a stopped run: finished slices and scans are not repeated.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors alone.")] = False,
    log: Annotated[Path | None, typer.Option(help="Append a line per slice, warning and error to this file.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A warning is an error: no images are written, exit code 2.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell how an iterative method got there: cost, residual, change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON, for programs.")] = False,
    patient: Annotated[str | None, typer.Option(help="Patient ID for DICOM; without it, images are anonymous.")] = None,
    name: Annotated[str | None, typer.Option(help="Patient name for DICOM, Family^Given.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession number for DICOM.")] = None,
    like: Annotated[
        Path | None, typer.Option(help="DICOM image whose patient, study and frame of reference the images get.")
    ] = None,
) -> None:
    """Reconstruct scans into images.

    Several scans or methods are written to one folder, with a table at the end; if some fail, the exit code is 2.
    """
    from cinerecon.commands.announce_code import announce_models
    from cinerecon.commands.run_log import run_log
    from cinerecon.io.export.dicom_patient import make_patient
    from cinerecon.reconstruction import ReconRequest, is_batch, plan_batch

    methods = models or [DEFAULT_MODEL]
    request = ReconRequest(
        scans[0],
        methods[0],
        outputs=tuple(output or ()),
        slices=tuple(slices or ()),
        frames=frames,
        device=device,
        csm=csm,
        noise=noise,
        dataset=dataset,
        undersample=undersample,
        seed=seed,
        weights=weights,
        settings=tuple(setting or ()),
        force=force,
        resume=resume,
        strict=strict,
        verbose=verbose,
        patient=make_patient(patient, name, accession, like),
    )
    with run_log(log, quiet=quiet, sources=[*scans, *request.sources]):
        announce_models(methods)
        if is_batch(scans, methods, formats or ()):
            batch = plan_batch(scans, methods, output or (), formats or (), request)
            _run_batch(batch, quiet=quiet, as_json=as_json)
        else:
            _run_one(request, quiet=quiet, as_json=as_json)


def _run_one(request: "ReconRequest", *, quiet: bool, as_json: bool) -> None:
    from cinerecon.commands.progress import progress_bar
    from cinerecon.commands.recon_report import print_convergence, print_report, report_as_plain
    from cinerecon.reconstruction import Observer, reconstruct_scan

    with progress_bar(quiet=quiet) as progress:
        report = reconstruct_scan(request, Observer(progress, partial(_manage_memory, model=request.model)))
    _print_warnings(report.warnings)
    if as_json:
        print(json.dumps(report_as_plain(report), indent=2))
    elif not quiet:
        print_report(report)
        if request.verbose:
            print_convergence(report)


def _run_batch(batch: "Batch", *, quiet: bool, as_json: bool) -> None:
    from cinerecon.commands.progress import progress_bar
    from cinerecon.commands.recon_report import batch_as_plain, print_batch
    from cinerecon.reconstruction import Observer, run_batch

    def report(outcome: "Outcome") -> None:
        _print_warnings([f"{outcome.name}, {outcome.method}: {text}" for text in outcome.warnings])
        if outcome.error:
            print(f"failed  {outcome.name}, {outcome.method}: {outcome.error}", file=sys.stderr)

    with progress_bar(quiet=quiet) as progress:
        outcomes = run_batch(batch, Observer(progress, partial(_manage_memory, model=batch.requests[0].model)), report)
    if as_json:
        print(json.dumps(batch_as_plain(outcomes), indent=2))
    elif not quiet:
        print_batch(outcomes)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(2)


def _print_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        logger.warning(text)
        print(f"warning  {text}", file=sys.stderr)


def _manage_memory(stage: str, *, model: str) -> None:
    """Return freed memory between the stages of a slice; while a method runs, keeping it can be faster."""
    from cinerecon.memory import keep_freed_memory, release_freed_memory

    release_freed_memory()
    if stage == "reconstruct" and model not in FRUGAL_METHODS:
        keep_freed_memory()
