"""Execution of a batch: each reconstruction is recorded when it ends, and a failure does not stop the others."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import finish_shard, start_shard
from cinerecon.errors import CineReconError, StorageError
from cinerecon.image import CineImage
from cinerecon.io.atomic import clear_partial, moved_into_place
from cinerecon.io.export import Target
from cinerecon.io.output_folder import FolderKind, require_folder_of, sole_writer
from cinerecon.io.paths import absolute, absolute_paths, relative
from cinerecon.machine import pick_device
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.reconstruction.batch import MOVIES, Batch
from cinerecon.reconstruction.identity import Identity
from cinerecon.reconstruction.record import COMMAND, COMPARISON, Entry, Outcome, Record, outcome_of
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, complete_scan, iterate_slices, load_request_method
from cinerecon.reconstruction.slices import ReconstructedSlice

logger = logging.getLogger(__name__)


def run_batch(
    batch: Batch, observer: Observer | None = None, report: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Run all reconstructions one after the other, and call ``report`` with each result.

    Raises
    ------
    CineReconError
        If a method or a shared setting is wrong, or another process uses the folder or the shard; raised before the
        first reconstruction.
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
    shard, folder = batch.shard, batch.folder
    records = shard.folder(folder, COMMAND) if shard and folder else folder
    if folder:
        require_folder_of(FolderKind.IMAGES, folder)
    with sole_writer(records) if records else nullcontext():
        run = BatchRun(batch, methods, observer or Observer())
        names = ScanNames(folder, COMMAND)
        if shard is None or folder is None:
            names.record(batch.names)
            return run.run(report)
        record = start_shard(folder, COMMAND, shard, batch.all_names, batch.identity(run.fingerprints))
        names.record(batch.names, shard)
        outcomes = run.run(report)
        finish_shard(folder, record)
    return outcomes


class BatchRun:
    """The reconstructions of a batch, each of which is recorded when it ends.

    Parameters
    ----------
    batch
        Scans and methods, with a resolved device (not ``auto``).
    methods
        The loaded methods by their names in the batch.
    observer
        Callbacks for the progress.

    Attributes
    ----------
    fingerprints
        Fingerprints of the methods.

    Raises
    ------
    FileError
        If a movie cannot be written, or exists and was not written by an earlier run of this batch.
    """

    def __init__(self, batch: Batch, methods: Mapping[str, Reconstructor], observer: Observer) -> None:
        self.batch, self.methods, self.observer = batch, methods, observer
        self.fingerprints = {model: fingerprint(method) for model, method in methods.items()}
        self._record = batch.record()
        for scan in batch.names:
            for target in self._missing_comparisons(scan):
                target.check(force=batch.common.force)

    def run(self, report: Callable[[Outcome], None]) -> list[Outcome]:
        """Reconstruct the scans with each method, and write the comparisons."""
        outcomes: list[Outcome] = []
        for scan in self.batch.names:
            images: list[list[CineImage]] = []
            movies = self._missing_comparisons(scan)
            for outcome, slices in self._reconstruct(scan, compares=bool(movies)):
                outcomes.append(outcome)
                report(outcome)
                images += [[part.cine for part in slices]] if slices else []
            for target in movies if len(images) == len(self.batch.models) else ():
                self._compare(scan, images, target)
        return outcomes

    def entry(self, request: ReconRequest) -> Entry:
        """The entry of a reconstruction in the record, without the identity of its images."""
        name = self.batch.names[request.scan]
        return Entry(request, Identity(), f"{name}.{request.label}", name, self._record)

    def identity(self, request: ReconRequest) -> Identity:
        """The identity of the images, which does not depend on the working directory if there is a record.

        Raises
        ------
        CineReconError
            If a file of the request cannot be read.
        """
        folder = self._record.folder if self._record else Path()
        return Identity.of(request, self.fingerprints[request.model], folder)

    def _reconstruct(self, scan: Path, *, compares: bool) -> Iterator[tuple[Outcome, Sequence[ReconstructedSlice]]]:
        """The outcome of each method for a scan, and the slices if methods are compared."""
        for request in self.batch.requests(scan):
            entry = self.entry(request)
            try:
                entry = replace(entry, identity=self.identity(request))
                yield self._run(entry, compares=compares)
                continue
            except StorageError:  # the images of the next scan could not be written either
                raise
            except CineReconError as error:
                logger.error("%s, %s: %s", entry.name, request.label, error.what)
                outcome = Outcome(entry.name, request.label, {}, error=error)
            except Exception as error:  # a bug on one scan must not stop the others
                logger.exception("%s, %s", entry.name, request.label)
                what = f"unexpected {type(error).__name__}: {error}"
                outcome = Outcome(entry.name, request.label, {}, error=CineReconError(what, where=str(scan)))
            entry.add(outcome)
            yield outcome, ()

    def _run(self, entry: Entry, *, compares: bool) -> tuple[Outcome, Sequence[ReconstructedSlice]]:
        """Run one reconstruction, or return its outcome from the record; the slices are returned for a comparison."""
        request, method = entry.request, self.methods[entry.request.model]
        if self.batch.folder is not None:
            report = complete_scan(entry, method, self.observer)
            if report.slices or not compares:
                return report.outcome, report.slices if compares else ()
            return report.outcome, list(iterate_slices(request, method, self.observer))
        earlier = entry.find()
        if earlier is not None and not compares:
            return earlier, ()
        request.check_sources()
        slices = list(iterate_slices(request, method, self.observer))
        outcome = outcome_of(slices, entry.name, request.label)
        entry.add(outcome)
        return outcome, slices

    def _missing_comparisons(self, scan: Path) -> list[Target]:
        """The movies to write for a scan: all movies except those that an earlier run wrote with the same settings."""
        targets, record = self.batch.comparisons(scan), self._record
        if record is None or not self.batch.common.resume:
            return list(targets)
        return [target for target in targets if not (target.path.exists() and self._is_compared(record, scan, target))]

    def _is_compared(self, record: Record, scan: Path, target: Target) -> bool:
        """Whether the record lists a movie with the same methods and settings."""
        try:
            earlier = record.find(relative(target.path, record.folder), self._checksum_of_all(scan))
        except CineReconError:  # reported when the scan is reconstructed
            return False
        return earlier is not None and absolute(target.path) in absolute_paths(earlier.written)

    def _checksum_of_all(self, scan: Path) -> str:
        return "-".join(self.identity(request).checksum for request in self.batch.requests(scan))

    def _compare(self, scan: Path, images: Sequence[Sequence[CineImage]], target: Target) -> None:
        """Write a movie, which is recorded first to be recognised even if the process is killed during writing."""
        force, record = self.batch.common.force, self._record
        if record is None:
            write_comparison(images, target, overwrite=force)
            return
        key, checksum = relative(target.path, record.folder), self._checksum_of_all(scan)
        if record.find(key, checksum) is not None:  # an earlier run was killed while writing the movie
            clear_partial(target.path.parent, below=False)
        movie = Outcome(self.batch.names[scan], COMPARISON, {}, (str(target.path),))
        record.add(key, movie, scan, checksum)
        try:
            write_comparison(images, target, overwrite=force)
        except Exception:
            record.add(key, replace(movie, written=()), scan, checksum)
            raise


def write_comparison(methods: Sequence[Sequence[CineImage]], target: Target, *, overwrite: bool = False) -> None:
    """Write a movie with a row for each slice, and a column for each method and the reference.

    Raises
    ------
    FileError
        If the file cannot be written, or exists and ``overwrite`` is not set.
    """
    rows = []
    for images in zip(*methods, strict=True):
        reference = images[0].reference
        truth = [] if reference is None else [replace(images[0], image=reference, method="reference", velocity=None)]
        rows.append([*images, *truth])
    with moved_into_place(target.path, overwrite=overwrite) as temporary:
        MOVIES[target.ending](temporary, [image for row in rows for image in row], max(map(len, rows)))
    logger.info("wrote %s", target.path)
