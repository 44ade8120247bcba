"""Prepare an archive of scans: open each file, assign its subject to a split, and write its cases slice by slice."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cinerecon.archives.case_index import (
    INDEX,
    PREPARE,
    IndexRow,
    append_rows,
    keep_existing_rows,
    remove_cases,
    unlisted_cases,
)
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, finish_shard, start_shard
from cinerecon.errors import FileError, StorageError
from cinerecon.io.output_folder import FolderKind, require_folder_of, sole_writer
from cinerecon.io.paths import absolute
from cinerecon.machine import in_pool, n_cores
from cinerecon.preparation.agenda import Agenda
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.folder import CaseFolder
from cinerecon.preparation.options import PreparationOptions
from cinerecon.preparation.prepare_slice import (
    PICTURES,
    ExcludedFile,
    PreparationWorker,
    PreparedSlice,
    SliceJob,
    Survey,
    is_done,
)
from cinerecon.preparation.report import Leftover, PrepareReport, Rejection
from cinerecon.preparation.selection import Selection
from cinerecon.preparation.sources import FORMATS, Item, Source, find_sources
from cinerecon.version import __version__

MAX_SERIAL_TASKS = 4
"""Largest number of tasks for which no further process is started, since starting a process takes seconds."""
SOURCES_AHEAD = 4
"""Number of sources per process that may be opened before it is known which slices of an earlier one are prepared."""

Progress = Callable[[str, float], None]


def prepare(
    paths: Iterable[Path],
    folder: Path,
    config: PrepareConfig | None = None,
    *,
    listed: Iterable[Path] = (),
    shard: Shard | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PrepareReport:
    """Prepare all cines in files and folders. Existing cases that match their source and settings are kept.

    Parameters
    ----------
    paths
        Files, or folders that are searched: ISMRMRD scans, CMRxRecon files, magnitude cines, prepared cases.
    folder
        Output folder, with a subfolder for each split, ``index.csv``, ``settings.yaml`` and pictures.
    config
        Settings of the preparation.
    listed
        Files and folders from a list of scans; missing ones are rejected, and the others prepared.
    shard
        Shard of the files to prepare; its cases are added to the index by `merge_cases`.
    progress
        Called with the step and the completed fraction.
    options
        Options of the command, see `PreparationOptions`: ``workers`` (few slices are prepared in one process),
        ``memory`` (a text or a number [bytes]), ``pictures`` and ``force`` (cases with other settings are removed when
        new ones exist).

    Raises
    ------
    FileError
        If nothing is found, another process uses the folder or the shard, or the disk is full.
    ConfigError
        If the folder contains cases prepared with other settings and ``force`` is not set, or an option is invalid.
    DataError
        If a process terminates unexpectedly, most often because of insufficient memory.
    """
    config, chosen = PrepareConfig.or_default(config), PreparationOptions.from_arguments(options)
    records = shard.folder(folder, PREPARE) if shard else folder
    require_folder_of(FolderKind.CASES, folder)
    with sole_writer(records):
        case_folder, n_processes = CaseFolder(folder, records, config), chosen.workers or n_cores()
        limit = chosen.memory_limit and chosen.memory_limit // n_processes
        sources, passed = find_sources(paths, folder, listed, case_folder.knows)
        scan_names = ScanNames(folder, PREPARE)
        kept = scan_names.keep({source.path: source.name for source in sources})
        sources = [replace(source, name=kept[source.path]) for source in sources]
        run = _Preparation(
            case_folder,
            Selection(case_folder.existing_cases(force=chosen.force), config.split),
            n_processes,
            make_job=partial(
                SliceJob, folder=folder, config=config, is_forced=chosen.force, draws=chosen.pictures, memory=limit
            ),
            report=progress or (lambda *_: None),
            record_names=partial(scan_names.record, shard=shard),
        )
        if shard is None:
            return run(sources, passed)
        names, identity = [source.name for source in sources], config.model_dump(mode="json")
        record = start_shard(folder, PREPARE, shard, names, {**identity, "version": __version__})
        result = run(shard.part(sources), passed if shard.number == 1 else {})
        finish_shard(folder, record)
    return result


@dataclass(eq=False)
class _Preparation:
    """A run that opens sources and prepares their slices; the index lists the cases."""

    folder: CaseFolder
    selection: Selection
    n_processes: int
    make_job: Callable[..., SliceJob]
    report: Progress
    record_names: Callable[[Mapping[Path, str]], None]
    names: dict[Path, str] = field(default_factory=dict)
    contents: dict[Path, set[str]] = field(default_factory=dict)
    prepared: list[PreparedSlice] = field(default_factory=list)
    refused: list[Rejection] = field(default_factory=list)
    left_out: list[ExcludedFile] = field(default_factory=list)
    n_jobs: int = 0
    n_failed: int = 0
    n_unknown_subjects: int = 0
    has_started: bool = False

    def __call__(self, sources: list[Source], passed: dict[str, int]) -> PrepareReport:
        """Prepare sources; ``passed`` counts the files that were already excluded, by reason."""
        self.report("reading headers", 0.0)
        self.names = {source.path: source.name for source in sources}
        self.contents = {absolute(source.path): set() for source in sources}
        self._prepare(sorted(sources, key=lambda source: source.name))
        if self.left_out and not (self.has_started or self.refused or self.folder.is_shard):
            example = min(self.left_out, key=lambda file: file.path)
            what = f"nothing to prepare was found, only {example.kind}: {example.reason}"
            raise FileError(what, where=str(example.path), hint=FORMATS)
        self.refused.sort(key=lambda refusal: (str(refusal.path), refusal.where))
        rows = tuple(row for cases in self.prepared for row in cases.rows)
        leftover = self._sort_leftover(rows)
        self.folder.finish(rows, self.refused)
        if not self.folder.is_shard:
            leftover = replace(leftover, unlisted=tuple(unlisted_cases(self.folder.path)))
        n_copies = self.selection.n_copies
        copies = {"copies of other files, under another name": n_copies} if n_copies else {}
        return PrepareReport(
            rows,
            sum(len(cases.rows) for cases in self.prepared if cases.is_new),
            tuple(self.refused),
            passed | _counted(self.left_out) | copies,
            self.n_unknown_subjects,
            dict(Counter(text for cases in self.prepared for text in cases.warnings)),
            self.folder.records / INDEX,
            leftover,
        )

    def _sort_leftover(self, rows: Iterable[IndexRow]) -> Leftover:
        """Cases of earlier runs that this one has not made; those of slices that a scan no longer has are removed."""
        confirmed = {row.case for row in rows}
        refused_paths = {absolute(refusal.path) for refusal in self.refused}
        leftover = Leftover.of(self.selection.existing.rows, confirmed, self.contents, refused_paths)
        remove_cases(self.folder.path, leftover.stale)
        for name in leftover.names_of_stale(confirmed):
            (self.folder.path / PICTURES / f"{name}.png").unlink(missing_ok=True)
        return leftover

    def _prepare(self, sources: list[Source]) -> None:
        """Open the sources that are not recorded, prepare the slices of all, and add new cases to the index."""
        agenda = Agenda(sources, self.folder.find, self._plan, SOURCES_AHEAD * self.n_processes)
        try:
            for outcome in self._outcomes(agenda):
                if isinstance(outcome, Survey):
                    self.folder.add_survey(outcome)
                    agenda.add(outcome)
                elif isinstance(outcome, Rejection):
                    self.refused.append(outcome)
                    self.n_failed += 1
                else:
                    self._record(outcome)
                self._report_progress(agenda.n_planned, len(sources))
        except StorageError as error:
            with suppress(FileError):  # no space for it; rows without cases are removed when the preparation continues
                n = keep_existing_rows(self.folder.records, self.folder.path)
                error.hint = f"free space and repeat the command, which continues: {n} cases are in the index"
            raise

    def _outcomes(self, agenda: Agenda) -> Iterator[Survey | PreparedSlice | Rejection]:
        """Outcomes of the tasks, computed in this process until there are many tasks."""
        worker = PreparationWorker(self.folder.config, is_alone=self.n_processes == 1)
        while self.n_processes == 1 or len(agenda) <= MAX_SERIAL_TASKS:
            task = next(agenda, None)
            if task is None:
                return
            yield worker(task)
        worker = PreparationWorker(self.folder.config, is_alone=False)
        yield from in_pool(worker, agenda, self.n_processes)

    def _plan(self, survey: Survey) -> list[SliceJob]:
        """The jobs of a source, whose scans are compared with those of earlier sources."""
        items = [item for item in survey.found if isinstance(item, Item)]
        self.refused += [item for item in survey.found if isinstance(item, Rejection)]
        self.left_out += [item for item in survey.found if isinstance(item, ExcludedFile)]
        if not items:
            return []
        if not self.has_started:
            self.selection.existing = self.folder.start(self.selection.existing)
            self.record_names(self.names)
            self.has_started = True
        self.contents[absolute(survey.source.path)] |= {item.sha256 for item in items}
        accepted, refused = self.selection.select(items)
        self.refused += refused
        self.n_unknown_subjects += sum(not item.is_subject_known for item in accepted)
        jobs = [self._job(item, n, survey.opened) for item in accepted for n in range(item.n_slices)]
        self.n_jobs += len(jobs)
        return [job for job in jobs if not self._is_unchanged(job)]

    def _job(self, item: Item, number: int, opened: bytes | None) -> SliceJob:
        rows = self.selection.existing.find(item, number)
        return self.make_job(
            item=item,
            slice=number,
            split=self.selection.split(item.subject),
            known=rows,
            is_unchanged=self.folder.are_unchanged(rows),
            opened=opened,
        )

    def _is_unchanged(self, job: SliceJob) -> bool:
        """Whether the cases of a slice are as recorded, so that they need not be read; they are then kept."""
        if not (job.is_unchanged and is_done(job)):
            return False
        self.prepared.append(PreparedSlice(job.known, is_new=False))
        return True

    def _record(self, cases: PreparedSlice) -> None:
        """Add the cases of a slice to the index and the records."""
        if cases.is_new:
            try:
                append_rows(self.folder.records, cases.rows)
            except StorageError:
                remove_cases(self.folder.path, cases.rows)
                raise
        if cases.is_new or not self.folder.are_unchanged(cases.rows):
            self.folder.add_cases(cases.rows)
        self.prepared.append(cases)

    def _report_progress(self, n_planned: int, n_sources: int) -> None:
        """Report the finished slices, with an estimate of their number while sources are to be opened."""
        n_done = len(self.prepared) + self.n_failed
        n_slices = round(self.n_jobs * n_sources / n_planned) if n_planned else 0
        if n_slices:
            about = "" if n_planned == n_sources else "about "
            self.report(f"slice {n_done} of {about}{n_slices}", min(1.0, n_done / n_slices))


def _counted(left_out: list[ExcludedFile]) -> dict[str, int]:
    """Number of excluded files of each kind, with an example."""
    example = {file.kind: file.path.name for file in reversed(left_out)}
    return {f"{kind}, such as {example[kind]}": n for kind, n in Counter(file.kind for file in left_out).items()}
