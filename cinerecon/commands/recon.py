"""The command ``cinerecon recon``."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

FRUGAL_METHODS = ("zerofilled", "cgsense")
"""Methods that gain little time from keeping the memory of freed arrays."""

if TYPE_CHECKING:
    from cinerecon.reconstruction import ReconReport, ReconstructedSlice


def recon(
    scan: Annotated[Path, typer.Argument(help="Raw scan (ISMRMRD, .h5), CMRxRecon file (.mat) or prepared case.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name of `cinerecon models`, a model file or folder.")
    ] = "slrnet",
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            help="May be repeated; the ending decides: .h5 .nii.gz .npz .gif .mp4 .png, or a folder for DICOM. "
            "Default: .h5, .mp4 and .png beside the scan.",
        ),
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
    setting: Annotated[list[str] | None, typer.Option("--set", help="Setting of the method, key=value.")] = None,
    intake: Annotated[list[str] | None, typer.Option("--intake", help="Setting of intake, key=value.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling pattern.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
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
    """Reconstruct a scan into images."""
    from cinerecon.commands.progress import progress_bar
    from cinerecon.io.export.dicom_patient import make_patient
    from cinerecon.reconstruction import Observer, ReconRequest, reconstruct_scan

    request = ReconRequest(
        scan,
        model,
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
        intake=tuple(intake or ()),
        force=force,
        strict=strict,
        verbose=verbose,
        patient=make_patient(patient, name, accession, like),
    )
    with progress_bar() as progress:
        report = reconstruct_scan(
            request, Observer(progress, partial(_manage_memory, keeps=model not in FRUGAL_METHODS))
        )
    for text in report.warnings:
        print(f"warning  {text}", file=sys.stderr)
    if as_json:
        print(json.dumps(_as_plain(report), indent=2))
    else:
        _print_report(report)
        if verbose:
            _print_convergence(report)


def _manage_memory(stage: str, *, keeps: bool) -> None:
    """Return freed memory between the stages of a slice; while a method runs, keeping it can be faster."""
    from cinerecon.memory import keep_freed_memory, release_freed_memory

    release_freed_memory()
    if stage == "reconstruct" and keeps:
        keep_freed_memory()


def _print_report(report: "ReconReport") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("slice", "frames", "coils", "matrix", "accel (no ACS)", "read", "maps", "recon", "residual")
    for heading in headings:
        table.add_column(heading, justify="right")
    for part in report.slices:
        table.add_row(*_row(part))
    Console(markup=False, highlight=False).print(table)
    writing = sum(report.written.values())
    print(f"\nwriting {writing:.1f} s, peak memory {report.peak_memory_mb:.0f} MB, on {report.device}")
    for path in report.written:
        print(f"wrote    {path}")
    for part in report.slices:
        if part.quality:
            print(f"slice {part.cine.meta.slice}  {quality_line(part)}")


def _print_convergence(report: "ReconReport") -> None:
    from rich.console import Console
    from rich.table import Table

    for part in report.slices:
        convergence = part.cine.convergence
        if not convergence:
            print(f"slice {part.cine.meta.slice}  {part.cine.method} keeps no record of iterations")
            continue
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        for heading in (f"slice {part.cine.meta.slice}, iteration", *(name.replace("_", " ") for name in convergence)):
            table.add_column(heading, justify="right")
        for n in some_iterations(len(convergence["cost"])):
            table.add_row(str(n + 1), *(f"{curve[n]:.4e}" for curve in convergence.values()))
        Console().print(table)


def some_iterations(n_iterations: int, most: int = 12) -> list[int]:
    """Indices of the iterations to show: the first, every n-th, and the last."""
    every = -(-n_iterations // (most - 1))
    return sorted({0, *range(every - 1, n_iterations, every), n_iterations - 1})


def quality_line(part: "ReconstructedSlice") -> str:
    """How good an image is, and against what, in words."""
    from cinerecon.cine import REFERENCES

    against = REFERENCES.get(part.cine.meta.reference_is, "the reference in the file")
    return f"PSNR {part.quality['psnr']:.2f} dB, SSIM {part.quality['ssim']:.4f} against {against}"


def _row(part: "ReconstructedSlice") -> list[str]:
    cine = part.cine
    times = [
        f"{part.seconds[stage]:.1f} s" if stage in part.seconds else "" for stage in ("read", "maps", "reconstruct")
    ]
    return [
        str(cine.meta.slice),
        str(cine.n_frames),
        str(part.n_coils),
        f"{cine.matrix[0]} x {cine.matrix[1]}",
        f"{part.acceleration:.2f} ({part.acceleration_without_acs:.2f})",
        *times,
        f"{part.residual:.3f}",
    ]


def _as_plain(report: "ReconReport") -> dict[str, object]:
    return {
        "slices": [
            {
                "slice": part.cine.meta.slice,
                "frames": part.cine.n_frames,
                "coils": part.n_coils,
                "matrix": list(part.cine.matrix),
                "acceleration": part.acceleration,
                "acceleration_without_acs": part.acceleration_without_acs,
                "seconds": part.seconds,
                "residual": part.residual,
                "quality": part.quality,
                "reference_is": part.cine.meta.reference_is,
                "convergence": {name: curve.tolist() for name, curve in part.cine.convergence.items()},
            }
            for part in report.slices
        ],
        "written": {str(path): seconds for path, seconds in report.written.items()},
        "peak_memory_mb": report.peak_memory_mb,
        "device": report.device,
        "warnings": list(report.warnings),
    }
