"""Prepare an archive of scans: survey the files, assign subjects to splits, then write the cases slice by slice."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cinerecon.errors import FileError, StorageError
from cinerecon.io.case_index import (
    INDEX,
    PREPARE,
    SPLITS,
    IndexRow,
    append_rows,
    keep_existing_rows,
    remove_cases,
    unlisted_cases,
)
from cinerecon.io.lock import sole_writer
from cinerecon.io.paths import absolute
from cinerecon.io.scan_names import ScanNames
from cinerecon.io.shards import Shard, finish_shard, start_shard
from cinerecon.machine import Result, Task, in_processes, n_cores
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.folder import CaseFolder, ExistingCases
from cinerecon.preparation.leftover import Leftover
from cinerecon.preparation.options import PreparationOptions
from cinerecon.preparation.prepare_slice import (
    PICTURES,
    ExcludedFile,
    PreparedSlice,
    SliceJob,
    SlicePreparer,
    survey_source,
)
from cinerecon.preparation.report import PrepareReport, Rejection
from cinerecon.preparation.sources import FORMATS, Item, Source, find_sources
from cinerecon.version import __version__

MAX_SERIAL_TASKS = 4
"""Largest number of tasks for which no further process is started, since starting a process takes seconds."""

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
    with sole_writer(records):
        case_folder, n_processes = CaseFolder(folder, records, config), chosen.workers or n_cores()
        limit = chosen.memory_limit and chosen.memory_limit // n_processes
        sources, passed = find_sources(paths, folder, listed, case_folder.knows)
        scan_names = ScanNames(folder, PREPARE)
        kept = scan_names.keep({source.path: source.name for source in sources})
        sources = [replace(source, name=kept[source.path]) for source in sources]
        run = _Preparation(
            case_folder,
            case_folder.existing_cases(force=chosen.force),
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
    """A run that surveys sources and prepares their slices; the index lists the cases."""

    folder: CaseFolder
    existing: ExistingCases
    n_processes: int
    make_job: Callable[..., SliceJob]
    report: Progress
    record_names: Callable[[Mapping[Path, str]], None]

    def __call__(self, sources: list[Source], passed: dict[str, int]) -> PrepareReport:
        """Prepare sources; ``passed`` counts the files that were already excluded, by reason."""
        self.report("reading headers", 0.0)
        items, refused, left_out = self._survey(sources)
        surveyed = items
        if left_out and not (items or refused or self.folder.is_shard):
            what = f"nothing to prepare was found, only {left_out[0].kind}: {left_out[0].reason}"
            raise FileError(what, where=str(left_out[0].path), hint=FORMATS)
        if items:
            self.existing = self.folder.start(self.existing)
            self.record_names({source.path: source.name for source in sources})
        items = sorted(self.existing.with_former_names(items), key=lambda item: item.name)
        items, clashing = _without_clashes(items, self.existing)
        items, contradicting = _without_other_split(items, self.folder.config.split, self.existing)
        items, n_copies = _without_copies(items, self.existing)
        prepared, rejected = self._prepare([self._job(item, n) for item in items for n in range(item.n_slices)])
        refused += [*clashing, *contradicting, *rejected]
        refused.sort(key=lambda refusal: (str(refusal.path), refusal.where))
        rows = tuple(row for cases in prepared for row in cases.rows)
        leftover = self._sort_leftover(rows, [source.path for source in sources], surveyed, refused)
        self.folder.finish(rows, refused)
        if not self.folder.is_shard:
            leftover = replace(leftover, unlisted=tuple(unlisted_cases(self.folder.path)))
        copies = {"copies of other files, under another name": n_copies} if n_copies else {}
        return PrepareReport(
            rows,
            sum(len(cases.rows) for cases in prepared if cases.is_new),
            tuple(refused),
            passed | _counted(left_out) | copies,
            sum(not item.is_subject_known for item in items),
            dict(Counter(text for cases in prepared for text in cases.warnings)),
            self.folder.records / INDEX,
            leftover,
        )

    def _sort_leftover(
        self, rows: Iterable[IndexRow], paths: Iterable[Path], items: Iterable[Item], refused: Iterable[Rejection]
    ) -> Leftover:
        """Cases of earlier runs that this one has not made; those of slices that a scan no longer has are removed."""
        contents: dict[Path, set[str]] = {absolute(path): set() for path in paths}
        for item in items:
            contents[absolute(item.source.path)].add(item.sha256)
        confirmed = {row.case for row in rows}
        refused_paths = {absolute(refusal.path) for refusal in refused}
        leftover = Leftover.of(self.existing.rows, confirmed, contents, refused_paths)
        remove_cases(self.folder.path, leftover.stale)
        for name in leftover.names_of_stale(confirmed):
            (self.folder.path / PICTURES / f"{name}.png").unlink(missing_ok=True)
        return leftover

    def _survey(self, sources: list[Source]) -> tuple[list[Item], list[Rejection], list[ExcludedFile]]:
        """Open the sources that are not recorded: scans, rejections, and files in folders that contain no cine."""
        content: list[Item | Rejection | ExcludedFile] = []
        others: list[Source] = []
        for source in sources:
            items = self.folder.find(source)
            if items is None:
                others.append(source)
            else:
                content += items
        for survey in self._in_processes(partial(survey_source, config=self.folder.config), others):
            self.folder.add_survey(survey)
            content += survey.found
        return (
            [item for item in content if isinstance(item, Item)],
            [item for item in content if isinstance(item, Rejection)],
            [item for item in content if isinstance(item, ExcludedFile)],
        )

    def _job(self, item: Item, number: int) -> SliceJob:
        """The job of a slice; a subject remains in its split of the index even if the fractions have changed."""
        split = self.existing.splits.get(item.subject) or split_of(item.subject, self.folder.config.split)
        rows = self.existing.find(item, number)
        is_unchanged = self.folder.are_unchanged(rows)
        return self.make_job(item=item, slice=number, split=split, known=rows, is_unchanged=is_unchanged)

    def _prepare(self, jobs: list[SliceJob]) -> tuple[list[PreparedSlice], list[Rejection]]:
        """The cases of each slice, of which new ones are added to the index, and the rejected slices."""
        prepared: list[PreparedSlice] = []
        rejected: list[Rejection] = []
        try:
            for n, outcome in enumerate(self._in_processes(SlicePreparer(), jobs), 1):
                self.report(f"slice {n} of {len(jobs)}", n / len(jobs))
                if isinstance(outcome, Rejection):
                    rejected.append(outcome)
                else:
                    self._record(outcome)
                    prepared.append(outcome)
        except StorageError as error:
            with suppress(FileError):  # no space for it; rows without cases are removed when the preparation continues
                n = keep_existing_rows(self.folder.records, self.folder.path)
                error.hint = f"free space and repeat the command, which continues: {n} cases are in the index"
            raise
        return prepared, rejected

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

    def _in_processes(self, work: Callable[[Task], Result], tasks: list[Task]) -> Iterator[Result]:
        """Results of tasks, computed in this process if there are few tasks."""
        return in_processes(work, tasks, 1 if len(tasks) <= MAX_SERIAL_TASKS else self.n_processes)


def _counted(left_out: list[ExcludedFile]) -> dict[str, int]:
    """Number of excluded files of each kind, with an example."""
    example = {file.kind: file.path.name for file in reversed(left_out)}
    return {f"{kind}, such as {example[kind]}": n for kind, n in Counter(file.kind for file in left_out).items()}


def split_of(subject: str, shares: Sequence[float]) -> str:
    """The split of a subject, determined by a hash of its name, so that it does not depend on other subjects."""
    remainder = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        remainder -= share
        if remainder < 0:
            return split
    return next(split for split, share in zip(SPLITS, shares, strict=True) if share > 0)


def _without_clashes(items: list[Item], existing: ExistingCases) -> tuple[list[Item], list[Rejection]]:
    """Scans that would not overwrite the cases of another scan; and those that would."""
    accepted, refused = [], []
    for item in items:
        path = item.source.path
        rows = (row for number in range(item.n_slices) for row in existing.find(item, number))
        changed = (row for row in rows if row.source_sha256 != item.sha256)
        other = next((row for row in changed if absolute(row.source) != absolute(path)), None)
        if other is not None:
            what = f"its cases would overwrite those of another scan, {other.source}"
            hint = "prepare a folder that contains both, or choose another folder for the cases"
            refused.append(Rejection(path, what, str(path), hint))
        else:
            accepted.append(item)
    return accepted, refused


def _without_other_split(
    items: list[Item], shares: Sequence[float], existing: ExistingCases
) -> tuple[list[Item], list[Rejection]]:
    """Scans whose subjects may be in the only split that is requested; and those whose subjects are in another one.

    A subject in two splits would be trained and tested on, and one that silently stays in its split be expected in the
    other. With shares of several splits, the split of the index is kept.
    """
    requested = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    accepted, refused = [], []
    for item in items:
        split = existing.splits.get(item.subject)
        if split is None or len(requested) > 1 or split == requested[0]:
            accepted.append(item)
        else:
            what = f"the subject {item.subject} is already in {split}, not in {requested[0]}"
            hint = f"--split {split}; or another folder for the cases of {requested[0]}"
            refused.append(Rejection(item.source.path, what, f"--split, {item.source.path}", hint))
    return accepted, refused


def _without_copies(items: list[Item], existing: ExistingCases) -> tuple[list[Item], int]:
    """Each content under one name, its former one if it has any: copies could put one subject into two splits."""
    subjects = {(row.source_sha256, row.slice): row.subject for row in existing.rows}
    first: dict[tuple[str, str], Item] = {}
    for item in items:
        if subjects.get((item.sha256, 0), item.subject) == item.subject:
            first.setdefault((item.sha256, item.series), item)
    return list(first.values()), len(items) - len(first)
