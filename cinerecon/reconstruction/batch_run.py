"""Run a batch: each reconstruction is recorded when it ends, and a failure does not stop the others."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cinerecon.errors import CineReconError, StorageError
from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.export import Target
from cinerecon.io.lock import sole_writer
from cinerecon.io.shards import finish_shard, start_shard
from cinerecon.machine import pick_device
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.reconstruction.batch import MOVIES, Batch
from cinerecon.reconstruction.outcome import COMMAND, Outcome
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, ReconReport, iterate_slices, load_request_method, reconstruct_scan
from cinerecon.reconstruction.slice_cache import SliceCache, checksum_of
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.verdict import worst_status

logger = logging.getLogger(__name__)


def run_batch(
    batch: Batch, observer: Observer | None = None, report: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Reconstruct all, one after the other; ``report`` is called with each result.

    Raises
    ------
    CineReconError
        If a method or a setting that all share is wrong, or another process works on the shard, before any work.
    StorageError
        If the disk is full, read-only or faulty.
    """
    common = batch.common.with_values(device=pick_device(batch.common.device))
    batch = replace(batch, common=common)
    methods = {}
    for model in batch.models:
        request = common.with_values(model=model)
        methods[model] = load_request_method(request)
        request.check_settings(methods[model])
    overwrite = common.force or common.resume
    for scan in batch.names:
        for target in batch.comparisons(scan):
            target.check(force=overwrite)
    if batch.shard is None or batch.folder is None:
        return _run_all(batch, methods, observer or Observer(), report)
    with sole_writer(batch.shard.folder(batch.folder, COMMAND)):
        record = start_shard(batch.folder, COMMAND, batch.shard, batch.all_names, batch.identity())
        outcomes = _run_all(batch, methods, observer or Observer(), report)
        finish_shard(batch.folder, record)
    return outcomes


def _run_all(
    batch: Batch, methods: Mapping[str, Reconstructor], observer: Observer, report: Callable[[Outcome], None]
) -> list[Outcome]:
    """Reconstruct the scans of a batch or of a shard by each method, and write the comparisons."""
    run = BatchRun(batch, methods, observer)
    overwrite = batch.common.force or batch.common.resume
    outcomes: list[Outcome] = []
    for scan in batch.names:
        images: list[list[CineImage]] = []
        for outcome, slices in run.reconstruct(scan):
            outcomes.append(outcome)
            report(outcome)
            images += [[part.cine for part in slices]] if slices else []
        for target in batch.comparisons(scan) if len(images) == len(batch.models) else ():
            write_comparison(images, target, overwrite=overwrite)
    return outcomes


class BatchRun:
    """The reconstructions of a batch, each recorded as it ends.

    Parameters
    ----------
    batch
        Scans and methods, with a device that is not ``auto``.
    methods
        The loaded methods by the names of the batch.
    observer
        Receives progress.
    """

    def __init__(self, batch: Batch, methods: Mapping[str, Reconstructor], observer: Observer) -> None:
        self.batch, self.methods, self.observer = batch, methods, observer
        self._fingerprints = {model: fingerprint(method) for model, method in methods.items()}
        self._patient = hashlib.sha256(repr(batch.common.patient).encode()).hexdigest()[:8]
        self._records = batch.records()

    def reconstruct(self, scan: Path) -> Iterator[tuple[Outcome, Sequence[ReconstructedSlice]]]:
        """The outcome of each method on a scan; and the slices, where methods are compared."""
        compares = self._must_compare(scan)
        for request in self.batch.requests(scan):
            name, checksum = self.batch.names[scan], ""
            try:
                checksum = checksum_of(request, self._fingerprints[request.model])
                yield self._run(request, checksum, compares=compares)
                continue
            except StorageError:  # the images of the next scan would not fit, either
                raise
            except CineReconError as error:
                logger.error("%s, %s: %s", name, request.label, error.what)
                outcome = Outcome(name, request.label, {}, error=error)
            except Exception as error:  # a bug on one scan must not stop the others
                logger.exception("%s, %s", name, request.label)
                what = f"unexpected {type(error).__name__}: {error}"
                outcome = Outcome(name, request.label, {}, error=CineReconError(what, where=str(scan)))
            self._store(request, outcome, checksum)
            yield outcome, ()

    def _must_compare(self, scan: Path) -> bool:
        """Whether the methods are to be compared in a movie that is missing, or older than images of the record."""
        targets = self.batch.comparisons(scan)
        if not targets or not self.batch.common.resume or not all(target.path.exists() for target in targets):
            return bool(targets)
        written: list[str] = []
        for request in self.batch.requests(scan):
            try:
                entry = self._finished_entry(request, checksum_of(request, self._fingerprints[request.model]))
            except CineReconError:
                return True  # the reason is reported when it is reconstructed
            if entry is None:
                return True
            written += entry["written"]
        newest = max(Path(file).stat().st_mtime_ns for file in written)
        return any(target.path.stat().st_mtime_ns < newest for target in targets)

    def _run(
        self, request: ReconRequest, checksum: str, *, compares: bool
    ) -> tuple[Outcome, Sequence[ReconstructedSlice]]:
        """One reconstruction, or its entry in the record; the slices are returned for a comparison."""
        method = self.methods[request.model]
        entry = self._finished_entry(request, checksum) if request.resume else None
        if entry is not None:
            SliceCache(request.targets[0].path, checksum).remove()  # left by a kill just after the end
            slices = list(iterate_slices(request, method, self.observer)) if compares else []
            return Outcome.of_entry(entry, is_earlier=True), slices
        name = self.batch.names[request.scan]
        if self.batch.folder is None:
            request.check_sources()
            slices = list(iterate_slices(request, method, self.observer))
            texts = tuple(dict.fromkeys(text for part in slices for text in part.warnings))
            verdict = worst_status([part.verdict for part in slices])
            return Outcome(name, request.label, figures_of(slices), (), texts, verdict=verdict), slices
        outcomes: list[Outcome] = []

        def record(report: ReconReport) -> None:
            written = tuple(map(str, report.written))
            verdict, figures = worst_status([part.verdict for part in report.slices]), figures_of(report.slices)
            outcomes.append(Outcome(name, request.label, figures, written, report.warnings, verdict=verdict))
            self._store(request, outcomes[0], checksum)

        done = reconstruct_scan(request, self.observer, method, checksum=checksum, record=record)
        return outcomes[0], done.slices if compares else ()

    def _finished_entry(self, request: ReconRequest, checksum: str) -> dict[str, Any] | None:
        """The record of a finished reconstruction whose images exist; None if there is none."""
        key = self._key(request)
        for record in self._records:
            entry = _successful(record.get(key))
            is_same = entry is not None and entry["checksum"] == self._identity(checksum)
            if entry is not None and is_same and all(Path(file).exists() for file in entry["written"]):
                if entry != self._records[0].get(key):
                    self._records[0].add(key, entry)
                return entry
        return None

    def _store(self, request: ReconRequest, outcome: Outcome, checksum: str) -> None:
        """Record an outcome; an error is recorded together with the existing images."""
        if not self._records:
            return
        key, entry = self._key(request), outcome.as_entry(request.scan, self._identity(checksum))
        if outcome.error is not None:
            entry["before"] = _successful(self._records[0].get(key))
        self._records[0].add(key, entry)

    def _key(self, request: ReconRequest) -> str:
        return f"{self.batch.names[request.scan]}.{request.label}"

    def _identity(self, checksum: str) -> str:
        return f"{checksum}-{self._patient}"


def _successful(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """An entry of the record that describes images, or the one before it that does; None if there is none."""
    return entry.get("before") if entry is not None and entry["error"] is not None else entry


def write_comparison(methods: Sequence[Sequence[CineImage]], target: Target, *, overwrite: bool = False) -> None:
    """Write a movie with a row for each slice, and a column for each method and the reference.

    Raises
    ------
    FileError
        If the file system refuses, or the file exists and is not to be replaced.
    """
    rows = []
    for images in zip(*methods, strict=True):
        reference = images[0].reference
        rows.append(
            [*images, *([] if reference is None else [replace(images[0], image=reference, method="reference")])]
        )
    with moved_into_place(target.path, overwrite=overwrite) as temporary:
        MOVIES[target.ending](temporary, [image for row in rows for image in row], max(map(len, rows)))
    logger.info("wrote %s", target.path)


def figures_of(slices: Sequence[ReconstructedSlice]) -> dict[str, float]:
    """Figures of a scan: sums over its slices, or means."""
    n = len(slices)
    figures: dict[str, float] = {
        "slices": n,
        "frames": max(part.cine.n_frames for part in slices),
        "acceleration": sum(part.acceleration for part in slices) / n,
        "seconds": sum(sum(part.seconds.values()) for part in slices),
        "residual": sum(part.residual for part in slices) / n,
    }
    medians = [part.snr["median"] for part in slices if part.snr]
    figures |= {"snr": sum(medians) / n} if len(medians) == n else {}
    for measure in ("psnr", "ssim"):
        values = [part.quality[measure] for part in slices if measure in part.quality]
        figures |= {measure: sum(values) / n} if len(values) == n else {}
    return figures
