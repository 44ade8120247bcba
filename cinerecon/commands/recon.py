"""The command ``cinerecon recon``."""

import json
import logging
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import METHOD, ArchiveOptions, Flag
from cinerecon.reconstruction.options import ReconSettings

FRUGAL_METHODS = ("zerofilled", "cgsense")
"""Methods that do not become faster if the allocator keeps freed memory."""

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from cinerecon.methods.memory_plan import MemoryPlan
    from cinerecon.reconstruction.batch import Batch
    from cinerecon.reconstruction.record import Outcome
    from cinerecon.reconstruction.request import ReconRequest


class ReconOptions(ReconSettings, ArchiveOptions):
    """Reconstruct scans into images.

    The images of several scans or methods are written to one folder, and a table is printed at the end; if some fail,
    the exit code is 2.
    """

    scans: Annotated[tuple[Path, ...], Flag(is_argument=True)] = Field(
        default=(),
        description="raw scan (ISMRMRD, MRD 2, Siemens .dat), CMRxRecon file (.mat), k-space in BART or NumPy format "
        "(.cfl, .npz, .npy) or prepared case; folders or lists (@list.txt) of these; - reads standard "
        "input",
    )
    models: Annotated[tuple[str, ...], Flag(("--model", "-m"), default_text=METHOD)] = Field(
        default=(METHOD,),
        description="name of a method (see cinerecon models), a model file or folder, or a class in a Python file, "
        "my_method.py:MyMethod; may be repeated",
    )
    outputs: Annotated[tuple[str, ...], Flag(("--output", "-o"), default_text=".h5, .mp4, .png next to the scan")] = (
        Field(
            default=(),
            description="file, whose suffix selects the format (.h5 .nii.gz .npz .cfl .mrd .mrd2 .gif .mp4 .png, or "
            ".dcm for Enhanced MR), or a folder for DICOM; may be repeated; - writes a stream (.mrd) to standard "
            "output. For several scans or methods: a folder for all images, e.g. out/; for several methods on one "
            "scan also a comparison, e.g. compare.mp4",
        )
    )
    formats: Annotated[tuple[str, ...], Flag(("--format",))] = Field(
        default=(),
        description="format of the files in the output folder, .h5 .nii.gz .npz .cfl .mrd .mrd2 .gif .mp4 .png .dcm "
        "or dicom; may be repeated",
    )
    quiet: Annotated[bool, Flag(("--quiet", "-q"), excludes=("verbose",))] = Field(
        default=False, description="print only warnings and errors"
    )
    log: Path | None = Field(
        default=None, description="file to which a line is appended for each slice, warning and error"
    )
    as_json: Annotated[bool, Flag(("--json",))] = Field(default=False, description="print the report as JSON")
    patient_id: Annotated[str | None, Flag(("--patient",))] = Field(
        default=None, description="patient ID for DICOM; without it, images are anonymous"
    )
    patient_name: Annotated[str | None, Flag(("--name",))] = Field(
        default=None, description="patient name for DICOM, Family^Given"
    )
    accession: str | None = Field(default=None, description="accession number for DICOM")
    like: Path | None = Field(
        default=None, description="DICOM image whose patient, study and frame of reference are copied to the images"
    )

    @property
    def is_batch(self) -> bool:
        """Whether several scans or methods may be given."""
        n_parts = max(len(self.scans), len(self.models))
        return n_parts > 1 or bool(self.formats) or any(path.is_dir() for path in self.scans)

    def request(self) -> "ReconRequest":
        """The request for the first scan and the first method."""
        from cinerecon.io.export.dicom_patient import make_patient
        from cinerecon.reconstruction.request import ReconRequest

        patient = make_patient(self.patient_id, self.patient_name, self.accession, self.like)
        shared = {name: getattr(self, name) for name in ReconSettings.model_fields}
        return ReconRequest(
            next(iter(self.scans), Path()), self.models[0], outputs=self.outputs, patient=patient, **shared
        )


def recon(options: ReconOptions) -> None:
    """Reconstruct one scan by one method, or a batch, and print the report.

    A scan ``-`` is standard input, an output ``-`` a stream of images on standard output; the report is then on
    standard error.
    """
    from cinerecon.commands.scans import STANDARD, images_to_standard_output, scan_file
    from cinerecon.commands.submit import submit
    from cinerecon.errors import ConfigError

    if options.submit and str(STANDARD) not in options.outputs:
        if STANDARD in options.scans:
            raise ConfigError("standard input cannot be submitted as jobs", where="--submit")
        submit(options, recon)
        return
    with ExitStack() as stack:
        folder = None
        if STANDARD in options.scans:
            if len(options.scans) > 1 or not options.outputs:
                raise ConfigError("standard input must be the only scan, and its images need a file name", where="-o")
            path = stack.enter_context(scan_file(STANDARD))
            options = options.model_copy(update={"scans": (path,)})
        if str(STANDARD) in options.outputs:
            _require_one_stream(options)
            path = stack.enter_context(images_to_standard_output())
            others = (output for output in options.outputs if output != str(STANDARD))
            options, folder = options.model_copy(update={"outputs": (*others, str(path))}), path.parent
        _recon(options, unlisted=folder)


def _require_one_stream(options: ReconOptions) -> None:
    """Check that standard output receives the images of one scan by one method, and nothing else."""
    from cinerecon.errors import ConfigError

    if options.as_json:
        raise ConfigError("standard output receives the images", where="--json", hint="-o cine.mrd --json")
    is_single = len(options.scans) == options.outputs.count("-") == 1 and not (options.lists or options.submit)
    if not is_single or options.is_batch:
        raise ConfigError(
            "standard output can receive only the images of one scan and one method", where="-o -", hint="-o out/"
        )


def _refuse_verdict(options: ReconOptions) -> None:
    """Refuse ``--verdict`` if none of the methods has a verdict."""
    if not (options.verdict and "verdict" in options.model_fields_set):
        return
    from cinerecon.errors import ConfigError
    from cinerecon.reconstruction.trust.calibration import calibrated_methods

    texts = list(map(partial(_no_verdict, options), options.models))
    if all(texts):
        hint = f"methods with a verdict: {', '.join(calibrated_methods())}, with their own weights and settings"
        raise ConfigError(f"--verdict has no effect: {'; '.join(texts)}", where="--verdict", hint=hint)


def _no_verdict(options: ReconOptions, model: str) -> str:
    """The reason why a method has no verdict; empty if it has one."""
    from cinerecon.reconstruction.run import load_request_method
    from cinerecon.reconstruction.trust import method_without_verdict

    request = options.request().with_values(model=model)
    return method_without_verdict(load_request_method(request), request.label)


def _recon(options: ReconOptions, unlisted: Path | None) -> None:
    from cinerecon.commands.console import run_log
    from cinerecon.commands.scans import print_shard, scans_of, shard_of
    from cinerecon.errors import ConfigError

    shard = shard_of(options)
    scans, is_listed = scans_of(options.scans, options.lists)
    options = options.model_copy(update={"scans": scans})
    request = options.request()
    with run_log(options.log, quiet=options.quiet, sources=[*scans, *request.sources]):
        _refuse_verdict(options)
        if shard or is_listed or options.is_batch:
            if options.verbose:
                what = "the convergence is reported only for one scan and one method"
                raise ConfigError(what, where="--verbose", hint="omit this option; .npz files contain the convergence")
            from cinerecon.reconstruction.batch import plan_batch

            batch = plan_batch(scans, options.models, options.outputs, options.formats, request, shard)
            _run_batch(options, batch)
            if shard and batch.folder and not options.as_json:
                print_shard(options, batch.folder)
        else:
            _run_one(options, request, unlisted)


app = app_of(ReconOptions, recon)


def _run_one(options: ReconOptions, request: "ReconRequest", unlisted: Path | None) -> None:
    """Reconstruct one scan; files in the folder `unlisted` are not reported."""
    from cinerecon.commands.console import progress_bar
    from cinerecon.commands.recon_report import print_convergence, print_report, report_as_plain
    from cinerecon.reconstruction.run import Observer, reconstruct_scan

    allocator = Allocator(request.model)
    with progress_bar(quiet=options.quiet) as progress:
        report = reconstruct_scan(request, Observer(progress, allocator.begin_stage, allocator.follow))
    if not report.slices:
        if request.verbose:
            _print_warnings(["--verbose has no effect: an earlier run finished this scan"])
        _print_finished(options, report.outcome)
        return
    report = replace(report, written={path: s for path, s in report.written.items() if path.parent != unlisted})
    _print_warnings(report.warnings)
    if options.as_json:
        print(json.dumps(report_as_plain(report), indent=2))
    elif not options.quiet:
        print_report(report)
        if request.verbose:
            print_convergence(report)


def _print_finished(options: ReconOptions, outcome: "Outcome") -> None:
    """Report a scan that an earlier run completed."""
    from cinerecon.commands.recon_report import batch_as_plain, print_batch

    _print_warnings(outcome.warnings)
    if options.as_json:
        print(json.dumps(batch_as_plain([outcome])[0], indent=2))
    elif not options.quiet:
        print_batch([outcome])


def _run_batch(options: ReconOptions, batch: "Batch") -> None:
    from cinerecon.commands.console import progress_bar
    from cinerecon.commands.recon_report import batch_as_plain, print_batch
    from cinerecon.reconstruction.batch_run import run_batch
    from cinerecon.reconstruction.run import Observer

    def report(outcome: "Outcome") -> None:
        _print_warnings([f"{outcome.name}, {outcome.method}: {text}" for text in outcome.warnings])
        if outcome.error:
            print(f"failed  {outcome.name}, {outcome.method}: {outcome.error}", file=sys.stderr)

    allocator = Allocator(batch.models[0])
    with progress_bar(quiet=options.quiet) as progress:
        outcomes = run_batch(batch, Observer(progress, allocator.begin_stage, allocator.follow), report)
    if options.as_json:
        print(json.dumps(batch_as_plain(outcomes), indent=2))
    elif not options.quiet:
        print_batch(outcomes)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(2)


def _print_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        logger.warning(text)
        print(f"warning  {text}", file=sys.stderr)


@dataclass
class Allocator:
    """Keeps or returns freed memory during the stages of a reconstruction, according to a plan.

    Attributes
    ----------
    model
        The method.
    keeps_freed_memory
        Whether freed memory is kept while the method runs, which can be faster.
    """

    model: str
    keeps_freed_memory: bool = True

    def follow(self, plan: "MemoryPlan") -> None:
        """Follow a plan, and log it if memory has a limit."""
        from cinerecon.reconstruction.run import NOTICE

        self.keeps_freed_memory = plan.keeps_freed_memory
        if plan.limit is not None:
            logger.log(NOTICE, "memory: %s", plan)

    def begin_stage(self, stage: str) -> None:
        """Return freed memory; afterwards, keep it if the stage and the plan allow this."""
        from cinerecon.memory import keep_freed_memory, release_freed_memory

        release_freed_memory()
        if stage == "reconstruct" and self.keeps_freed_memory and self.model not in FRUGAL_METHODS:
            keep_freed_memory()
