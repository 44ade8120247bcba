"""Reconstruct a scan slice by slice, store each completed slice, and write the images.

`reconstruct_scan` reconstructs a single scan. A batch calls `complete_scan` for each of its scans and methods.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cinerecon.acquisition.formats import RAW_SCAN, kind_of
from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.source import CineSource
from cinerecon.errors import ConfigError
from cinerecon.image import collect_warnings
from cinerecon.io.atomic import clear_partial
from cinerecon.io.checksums import require_unchanged, state_of
from cinerecon.io.export import export_series, series_of
from cinerecon.io.export.dicom_patient import require_same_patient
from cinerecon.io.paths import absolute
from cinerecon.machine import peak_memory_mb, pick_device
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.memory_plan import MemoryPlan
from cinerecon.methods.table import load_method
from cinerecon.options import split_settings
from cinerecon.reconstruction.identity import Identity, provenance_of, with_provenance
from cinerecon.reconstruction.record import Entry, Outcome, Record, missing_outputs, outcome_of
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.scan_reconstruction import ScanReconstruction, SliceProgress, check_velocity_options
from cinerecon.reconstruction.slice_cache import SliceCache, remove_slices
from cinerecon.reconstruction.slices import ReconstructedSlice, with_quality

NOTICE = logging.INFO + 5
"""Logging level of messages that are also shown on a terminal."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observer:
    """Callbacks that report the progress of a run.

    Attributes
    ----------
    progress
        Called with a description of the step and the completed fraction of the work.
    stage
        Called with the name of each stage when it begins: ``read``, ``reconstruct`` and ``finish`` for each slice, and
        ``write`` for the images.
    plan
        Called with the memory plan before the first slice.
    """

    progress: Callable[[str, float], None] = lambda *_: None
    stage: Callable[[str], None] = lambda _: None
    plan: Callable[[MemoryPlan], None] = lambda _: None

    def of_slice(self, index: int, number: int, n_slices: int) -> SliceProgress:
        """The progress of one slice among several."""
        return lambda text, fraction: self.progress(f"slice {index}: {text}", (number + fraction) / n_slices)


@dataclass(frozen=True, eq=False)
class ReconReport:
    """The slices of a scan, the written files, and warnings.

    Attributes
    ----------
    request
        The request, with a resolved device (not ``auto``).
    outcome
        The figures of all slices, as recorded.
    slices
        The reconstructed slices, in order; empty if an earlier run completed the scan.
    written
        Time taken to write each file [s].
    peak_memory_mb
        Peak memory of the process so far, or of the GPU if the method ran there [MB].
    warnings
        Warnings without duplicates, each with the slices that it concerns.
    """

    request: ReconRequest
    outcome: Outcome
    slices: tuple[ReconstructedSlice, ...] = ()
    written: dict[Path, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    warnings: tuple[str, ...] = ()


def reconstruct_scan(request: ReconRequest, observer: Observer | None = None) -> ReconReport:
    """Reconstruct a scan and write its images, with one slice in memory at a time.

    Completed slices are kept in a folder next to the first output until all images are written; after an interruption,
    the folder remains. A run that resumes another one overwrites only images that the interrupted run wrote, and
    records its outcome next to the first output: if an earlier run completed the scan, only missing images are written.

    Parameters
    ----------
    request
        Scan, method, outputs and settings.
    observer
        Callbacks for the progress.

    Raises
    ------
    CineReconError
        If the request or the file is invalid; if possible, raised before the reconstruction starts.
    """
    targets = request.check(overwrite=request.resume)
    outputs = request.outputs or tuple(str(target.path) for target in targets)
    request = request.with_values(device=pick_device(request.device), outputs=outputs)
    method = load_request_method(request)
    first = targets[0].path
    identity = Identity.of(request, fingerprint(method), first.parent)
    record = Record(first.parent) if request.resume else None
    entry = Entry(request, identity, key=first.name, name=request.scan.stem, record=record)
    return complete_scan(entry, method, observer or Observer())


def complete_scan(entry: Entry, method: Reconstructor, observer: Observer) -> ReconReport:
    """Reconstruct the slices, and write the images, that earlier runs have not completed; record the outcome.

    After an error, the completed slices remain for the next run.

    Parameters
    ----------
    entry
        The request and its entry in the record; earlier runs are continued only if the request resumes them.
    method
        The method.
    observer
        Callbacks for the progress.

    Raises
    ------
    CineReconError
        See `reconstruct_scan`.
    """
    earlier = entry.find()
    missing = missing_outputs(entry.request.outputs, earlier)
    if earlier is not None and not missing:
        for target in entry.request.targets:
            remove_slices(target.path, entry.identity.checksum)  # left by a run killed just after its end
        return ReconReport(entry.request, earlier)
    if earlier is None:
        entry.refuse_other_images()
    before = () if earlier is None else earlier.written
    request = entry.request.with_values(outputs=missing)
    cache = SliceCache.of(request, entry.identity.checksum, before)
    request.check(own=cache.outputs() if request.resume else ())
    if cache.indices():  # slices of an interrupted run
        for folder in {target.path.parent for target in request.targets}:
            clear_partial(folder, below=False)
    if not request.resume:
        cache.remove()
    try:
        slices = list(iterate_slices(request, method, observer, cache))
        written = write_images(slices, request, cache, observer)
    except BaseException:
        if n_finished := len(cache.indices()):
            text = "%d finished slice(s) are kept in %s: the same command with --resume continues"
            logger.log(NOTICE, text, n_finished, cache.folder)
        else:
            cache.remove()
        raise
    for option in _options_without_effect(request, slices):
        logger.log(NOTICE, "note     %s has no effect: the noise map of %s is analytic", option, request.label)
    outcome = outcome_of(slices, entry.name, request.label, written, before)
    entry.add(outcome)
    cache.remove()
    warnings = collect_warnings([part.cine for part in slices])
    return ReconReport(request, outcome, tuple(slices), written, peak_memory_mb(request.device), warnings)


def _options_without_effect(request: ReconRequest, slices: Sequence[ReconstructedSlice]) -> list[str]:
    """The given options that only concern pseudo-replicas, if the noise of all slices was computed by a formula."""
    if not request.snr or any(part.snr["standard_error"] for part in slices):
        return []
    names = ["n_replicas", *([] if request.undersample or request.uncertainty else ["seed"])]
    return [request.option_of(name) for name in names if request.is_changed(name)]


def load_request_method(request: ReconRequest) -> Reconstructor:
    """The method of a request.

    Raises
    ------
    CineReconError
        See `load_method`.
    """
    return load_method(
        request.model, split_settings(request.settings)[0], device=request.device, weights=request.weights
    )


def iterate_slices(
    request: ReconRequest,
    method: Reconstructor,
    observer: Observer | None = None,
    cache: SliceCache | None = None,
) -> Iterator[ReconstructedSlice]:
    """Reconstruct the selected slices of a scan one after the other.

    Parameters
    ----------
    request
        Scan, method and settings, with a resolved device (not ``auto``); its outputs are not used.
    method
        The method.
    observer
        Callbacks for the progress.
    cache
        Storage of completed slices, which may contain those of an earlier run.
    """
    observer, state = observer or Observer(), state_of(request.scan_files)
    scan = open_request_scan(request, method)
    require_same_patient(request.patient, scan.subject, scan.frame_of_reference, str(request.scan))
    chosen = request.chosen_slices(scan)
    provenance = provenance_of(scan, method, request)
    run = ScanReconstruction.of(scan, chosen, method, request)
    observer.plan(run.plan)
    for number, index in enumerate(chosen):
        part = cache.load(index) if cache else None
        text = "finished by an earlier run"
        if part is None:
            part = run.reconstruct(index, observer.of_slice(index, number, len(chosen)), observer.stage)
            require_unchanged(request.scan_files, state)
            text = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in part.seconds.items())
            observer.stage("finish")
            part = with_quality(part)
            part = cache.store(part) if cache else part
        part = with_provenance(part, provenance)
        quality = f", PSNR {part.quality['psnr']:.2f} dB" if part.quality else ""
        logger.info(
            "%s, %s: slice %d (%d of %d), %d frames of %d x %d, %s, residual %.3f%s",
            *(request.scan.name, request.label, index, number + 1, len(chosen)),
            *(part.cine.n_frames, *part.cine.matrix, text, part.residual, quality),
        )
        yield part


def open_request_scan(request: ReconRequest, method: Reconstructor) -> CineSource:
    """Open the scan of a request; a raw scan with two sets is read as phase contrast.

    Raises
    ------
    CineReconError
        If the scan cannot be read, or a setting does not apply to it.
    """
    kind = kind_of(request.scan)
    if request.set_index is not None and kind != RAW_SCAN:
        raise ConfigError(f"only raw scans have sets, but this is {kind}", where="--set-index")
    scan = open_scan(
        request.scan,
        request.preprocessing(method),
        noise=request.noise,
        dataset=request.dataset,
        measurement=request.measurement,
        phase_contrast=True,
    )
    check_velocity_options(request, scan)
    return scan


def write_images(
    slices: list[ReconstructedSlice], request: ReconRequest, cache: SliceCache, observer: Observer
) -> dict[Path, float]:
    """Write the images to each target of a request, and return the time taken for each file [s].

    Parameters
    ----------
    slices
        The reconstructed slices.
    request
        The request.
    cache
        Cache in which each output is recorded when its writing begins, so that this run may overwrite it.
    observer
        Callbacks for the progress.
    """
    written: dict[Path, float] = {}
    own = cache.outputs()
    observer.stage("write")
    for target in request.targets:
        observer.progress(f"writing {target.path.name}", 1.0)
        for part, images in series_of([part.cine for part in slices], target):
            is_own = absolute(part.path) in own
            cache.begin_output(part.path)
            try:
                overwrite = request.force or is_own
                written |= export_series(images, part, overwrite=overwrite, patient=request.patient)
            except Exception:
                cache.begin_output(part.path, is_begun=is_own)
                raise
    return written
