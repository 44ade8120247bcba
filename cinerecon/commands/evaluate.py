"""The command ``cinerecon evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import (
    EVALUATION_WORKERS,
    SEED,
    ArchiveOptions,
    ArrayOptions,
    DeviceOptions,
    Flag,
    MemoryLimit,
    SetOptions,
    split_settings,
)

if TYPE_CHECKING:
    from cinerecon.evaluation.failures import Failure
    from cinerecon.evaluation.paper_tables import PaperTable
    from cinerecon.evaluation.score import Score


class EvaluateOptions(DeviceOptions, ArrayOptions, SetOptions, ArchiveOptions, MemoryLimit):
    """Undersample fully sampled scans, reconstruct them with each method, and compare with the reference.

    Or compare images from any program with a reference: --recon a.npz --recon b.h5 --reference full.npz.

    Failures are reported, listed in failures.csv and excluded from all tables; the exit code is then 2. Repeating
    the command tries them again.
    """

    scans: Annotated[tuple[Path, ...], Flag(is_argument=True)] = Field(
        default=(), description="fully sampled scans, prepared cases, or folders or lists (@list.txt) of them"
    )
    models: Annotated[tuple[str, ...], Flag(("--model", "-m"))] = Field(
        default=(), description="method to evaluate, as for recon --model; may be repeated"
    )
    undersample: tuple[str, ...] = Field(default=(), description="sampling pattern, e.g. gaussian:8; may be repeated")
    output: Annotated[Path | None, Flag(("--output", "-o"))] = Field(
        default=None,
        description="folder for scores, tables, figures and report.html; scores that it already contains are kept",
    )
    baseline: Annotated[str | None, Flag(default_text="the first --model")] = Field(
        default=None, description="method to test against"
    )
    profile: str | None = Field(
        default=None,
        description="definition of the metrics (crop, data range): cine, paper-slr, paper-pass, fastmri, cmrxrecon23, "
        "cmrxrecon24 or cmrxrecon25",
    )
    tables: Annotated[tuple[str, ...], Flag(("--table",))] = Field(
        default=(),
        description="table of a paper to reproduce, slr-1 to slr-5 or pass-1 to pass-3; it defines layout, models and "
        "patterns",
    )
    pictures: Annotated[int, Flag(needs=("output",))] = Field(
        default=2, ge=0, description="number of slices in figures, evenly distributed"
    )
    workers: int = Field(
        default=EVALUATION_WORKERS,
        ge=0,
        description="parallel processes, which share the cores; 0: as many as memory allows",
    )
    memory: str | None = Field(
        default=None,
        description="memory limit for all processes together, e.g. 4GB; a method that needs more for a slice fails on "
        "that slice",
    )
    seed: int = Field(default=SEED, description="seed of the sampling patterns")
    subject: Annotated[str, Flag(default_text="by the header")] = Field(
        default="", description=r"regular expression that matches the subject in the path of a scan, e.g. 'P\d+'"
    )
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="setting of all methods, key=value, or preprocessing setting, preprocessing.key=value"
    )
    recons: Annotated[tuple[Path, ...], Flag(("--recon",))] = Field(
        default=(),
        description="images to compare instead of scans: .npz, .npy, ISMRMRD file or stream, NIfTI, BART, DICOM; may "
        "be repeated",
    )
    reference: Path | None = Field(
        default=None, description="reference for --recon: images, or a scan that contains reference images"
    )
    fit_scale: Annotated[bool, Flag(needs=("recons",))] = Field(
        default=False,
        description="multiply the images of each --recon by the factor that fits the reference best, e.g. for DICOM "
        "images of other programs, whose units are arbitrary",
    )

    def without_effect_on_files(self) -> list[str]:
        """The given arguments and options that apply to scans and methods, and have no effect on image files."""
        fields = ("models", "undersample", "tables", "settings", "seed", "subject", "workers", "memory")
        bases = (DeviceOptions, ArrayOptions, SetOptions, ArchiveOptions)
        names = (*fields, *(name for base in bases for name in base.model_fields))
        return [*map(str, self.scans), *(self.option_of(name) for name in names if self.is_changed(name))]


def evaluate(options: EvaluateOptions) -> None:
    """Evaluate methods on scans, or compare image files, and print and write the tables."""
    from cinerecon.commands.results import report_results
    from cinerecon.commands.scans import print_shard
    from cinerecon.commands.submit import submit
    from cinerecon.evaluation.compare_files import compare_files
    from cinerecon.evaluation.paper_tables import find_paper_table
    from cinerecon.evaluation.request import require_files
    from cinerecon.memory import keep_freed_memory
    from cinerecon.metrics import DEFAULT_PROFILE

    keep_freed_memory()
    output = options.output
    layouts = [find_paper_table(name) for name in options.tables]
    failures: list[Failure] = []
    names: tuple[str, ...] = ()
    if options.recons or options.reference:
        paths, reference = require_files(options.recons, options.reference, options.without_effect_on_files())
        profile, n_pictures = options.profile or DEFAULT_PROFILE, options.pictures if output else 0
        scale = options.fit_scale
        scores = compare_files(paths, reference, profile=profile, fit_scale=scale, output=output, pictures=n_pictures)
    elif options.submit:
        submit(options, evaluate)
        return
    else:
        scores, failures, names = _evaluate_scans(options, layouts)
    if options.shard is None or output is None:
        report_results(scores, failures, output, options.baseline, layouts, names)
    else:
        print_shard(options, output)
    if failures:
        raise typer.Exit(2)


def _evaluate_scans(
    options: EvaluateOptions, layouts: "list[PaperTable]"
) -> "tuple[list[Score], list[Failure], tuple[str, ...]]":
    """Scores, failures, and the names of the methods that the user gave."""
    from rich.console import Console

    from cinerecon.acquisition.config import AcquisitionConfig
    from cinerecon.archives.scan_list import with_lists
    from cinerecon.commands.scans import shard_of
    from cinerecon.evaluation import run
    from cinerecon.evaluation.request import EvaluationRequest, select_with_tables, why_left_out
    from cinerecon.words import counted

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def report_existing(number: int) -> None:
        if number:
            console.print(f"kept     {counted(number, 'score')} of an earlier run of this folder")

    models, patterns = options.models, options.undersample
    selected = select_with_tables(models, patterns, options.profile, layouts, options.baseline)
    for name in selected.left_out:
        console.print(f"left out  {name}: {why_left_out(name)}")
    of_methods, of_preprocessing = split_settings(options.settings)
    config = AcquisitionConfig().with_settings(of_preprocessing, where="--set preprocessing")
    request = EvaluationRequest(
        selected.models,
        selected.patterns,
        settings=of_methods,
        seed=options.seed,
        device=options.device,
        profile=selected.profile,
        output=options.output,
        n_pictures=options.pictures if options.output else 0,
        subject=options.subject,
        config=config.with_arrays(options).with_set(options.set_index),
        memory=options.memory_limit,
    )
    evaluation = run.evaluate(
        with_lists(options.scans, options.lists),
        request,
        workers=options.workers,
        shard=shard_of(options),
        report=lambda outcome: console.print(_describe_outcome(outcome)),
        report_existing=report_existing,
    )
    return evaluation.scores, evaluation.failures, selected.named


def _describe_outcome(outcome: "Score | Failure") -> str:
    """A score or a failure in one line."""
    from cinerecon.evaluation.failures import Failure
    from cinerecon.evaluation.score import coils_in_words

    if isinstance(outcome, Failure):
        return f"failed   {outcome.case}, {outcome.sampling}, {outcome.method}: {outcome.what}"
    coils = coils_in_words(outcome.n_coils)
    case = f"{outcome.scan} slice {outcome.slice}, {coils}, {outcome.sampling}, {outcome.method}"
    return f"{case}: PSNR {outcome.psnr:.2f} dB, SSIM {outcome.ssim:.4f}, {outcome.seconds:.1f} s"


app = app_of(EvaluateOptions, evaluate)
