"""Prepare an archive of scans: survey the files, assign subjects to splits, then write the cases slice by slice."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from cinerecon.errors import FileError, StorageError
from cinerecon.io.case_index import INDEX, PREPARE, append_rows, keep_existing_rows, remove_cases
from cinerecon.io.lock import sole_writer
from cinerecon.io.shards import Shard, finish_shard, start_shard
from cinerecon.machine import in_processes, n_cores
from cinerecon.preparation.config import SPLITS, PrepareConfig
from cinerecon.preparation.folder import ExistingCases, PrepareRecords, finish_index, read_existing_cases, start_folder
from cinerecon.preparation.prepare_slice import (
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
"""Largest number of tasks for which no further process is started, as that takes seconds."""

Progress = Callable[[str, float], None]


def prepare(
    paths: Iterable[Path],
    folder: Path,
    config: PrepareConfig | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    draws: bool = True,
    progress: Progress | None = None,
    listed: Iterable[Path] = (),
    shard: Shard | None = None,
    memory: int | None = None,
) -> PrepareReport:
    """Prepare all cines in files and folders. Cases that exist and match their source and settings are kept.

    Parameters
    ----------
    paths
        Files, or folders that are walked: ISMRMRD scans, CMRxRecon files, magnitude cines, prepared cases.
    folder
        Output folder: a subfolder per split, ``index.csv``, ``settings.yaml`` and pictures.
    config
        Settings of the preparation.
    workers
        Processes; None: one for each core. A few slices are prepared by one.
    force, draws
        Whether existing cases are prepared again (those with other settings are removed as soon as there are new
        ones), and whether a picture of each slice is drawn.
    progress
        Called with the step and the fraction completed.
    listed
        Files and folders of a list of scans; missing ones are refused, the others prepared.
    shard
        Prepare this part of the files; its cases are in the index after `merge_cases`.
    memory
        Most memory of all processes [bytes], or None. Slices that need more to be read are refused.

    Raises
    ------
    FileError
        If nothing is found, another process works on the folder or the shard, or the disk is full.
    ConfigError
        If the folder holds cases prepared with other settings, and `force` is not set.
    DataError
        If a process dies, most often for lack of memory.
    """
    config = config or PrepareConfig()
    records = shard.folder(folder, PREPARE) if shard else folder
    with sole_writer(records):
        known, n_processes = PrepareRecords(folder, records, config), workers or n_cores()
        limit = memory and memory // n_processes
        sources, passed = find_sources(paths, folder, listed, known.knows)
        before = read_existing_cases(folder, config, force=force, records=records if shard else None)
        run = partial(
            _prepare_sources,
            folder=folder,
            config=config,
            before=before,
            known=known,
            n_processes=n_processes,
            make_job=partial(SliceJob, folder=folder, config=config, is_forced=force, draws=draws, memory=limit),
            report=progress or (lambda *_: None),
        )
        if shard is None:
            return run(sources, passed)
        names, identity = [source.name for source in sources], config.model_dump(mode="json")
        record = start_shard(folder, PREPARE, shard, names, {**identity, "version": __version__})
        result = run(shard.part(sources), passed if shard.number == 1 else {})
        finish_shard(folder, record)
    return result


def _prepare_sources(
    sources: list[Source],
    passed: dict[str, int],
    *,
    folder: Path,
    config: PrepareConfig,
    before: ExistingCases,
    known: PrepareRecords,
    n_processes: int,
    make_job: Callable[..., SliceJob],
    report: Progress,
) -> PrepareReport:
    """Survey sources and prepare their slices; the index of the records lists the cases."""
    is_shard = known.folder != folder
    report("reading headers", 0.0)
    items, refused, left_out = _survey_all(sources, config, n_processes, known)
    if left_out and not (items or refused or is_shard):
        what = f"nothing to prepare is found, only {left_out[0].kind}: {left_out[0].reason}"
        raise FileError(what, where=str(left_out[0].path), hint=FORMATS)
    items.sort(key=lambda item: item.name)
    if items:
        before = start_folder(folder, config, before, known.folder if is_shard else None)
    items, clashing = _without_clashes(items, before)
    refused += clashing
    items, contradicting = _without_other_split(items, config, before)
    refused += contradicting
    items, n_copies = _without_copies(items, before)
    passed |= _counted(left_out)
    passed |= {"copies of other files, under another name": n_copies} if n_copies else {}
    jobs = [_job(item, number, config, before, known, make_job) for item in items for number in range(item.n_slices)]
    try:
        prepared, rejected = _prepare_slices(jobs, n_processes, report, known, folder)
    except StorageError as error:
        with suppress(FileError):  # no space for it; rows without cases are removed when the preparation continues
            n = keep_existing_rows(known.folder, folder)
            error.hint = f"free space and repeat the command, which continues: {n} cases are in the index"
        raise
    refused = sorted([*refused, *rejected], key=lambda refusal: (str(refusal.path), refusal.where))
    rows = tuple(row for cases in prepared for row in cases.rows)
    finish_index(folder, rows, refused, known.folder)
    n_new = sum(len(cases.rows) for cases in prepared if cases.is_new)
    n_unknown = sum(not item.is_subject_known for item in items)
    warnings = Counter(text for cases in prepared for text in cases.warnings)
    return PrepareReport(rows, n_new, tuple(refused), passed, n_unknown, dict(warnings), known.folder / INDEX)


def _prepare_slices(
    jobs: list[SliceJob], n_processes: int, report: Progress, known: PrepareRecords, folder: Path
) -> tuple[list[PreparedSlice], list[Rejection]]:
    """The cases of each slice, of which new ones are added to the index, and the slices that are refused."""
    prepared: list[PreparedSlice] = []
    rejected: list[Rejection] = []
    for n, outcome in enumerate(in_processes(SlicePreparer(), jobs, _processes_for(len(jobs), n_processes))):
        report(f"slice {n + 1} of {len(jobs)}", (n + 1) / len(jobs))
        if isinstance(outcome, Rejection):
            rejected.append(outcome)
            continue
        if outcome.is_new:
            try:
                append_rows(known.folder, outcome.rows)
            except StorageError:
                remove_cases(folder, outcome.rows)
                raise
        if outcome.is_new or not known.are_unchanged(outcome.rows):
            known.add_cases(outcome.rows)
        prepared.append(outcome)
    return prepared, rejected


def _survey_all(
    sources: list[Source], config: PrepareConfig, n_processes: int, known: PrepareRecords
) -> tuple[list[Item], list[Rejection], list[ExcludedFile]]:
    """Open all sources that are not recorded: the scans, the rejections, and the files of folders that hold no cine."""
    content: list[Item | Rejection | ExcludedFile] = []
    others: list[Source] = []
    for source in sources:
        items = known.find(source)
        if items is None:
            others.append(source)
        else:
            content += items
    for survey in in_processes(partial(survey_source, config=config), others, _processes_for(len(others), n_processes)):
        known.add_survey(survey)
        content += survey.found
    return (
        [item for item in content if isinstance(item, Item)],
        [item for item in content if isinstance(item, Rejection)],
        [item for item in content if isinstance(item, ExcludedFile)],
    )


def _counted(left_out: list[ExcludedFile]) -> dict[str, int]:
    """Number of excluded files of each kind, with an example."""
    example = {file.kind: file.path.name for file in reversed(left_out)}
    return {f"{kind}, such as {example[kind]}": n for kind, n in Counter(file.kind for file in left_out).items()}


def split_of(subject: str, shares: Sequence[float]) -> str:
    """The split of a subject: by a hash of the name, so that it does not depend on the other subjects."""
    remainder = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        remainder -= share
        if remainder < 0:
            return split
    return next(split for split, share in zip(SPLITS, shares, strict=True) if share > 0)


def _job(
    item: Item,
    number: int,
    config: PrepareConfig,
    before: ExistingCases,
    known: PrepareRecords,
    make_job: Callable[..., SliceJob],
) -> SliceJob:
    """The job of a slice; a subject stays in its split of the index even if the shares have changed."""
    split = before.splits.get(item.subject) or split_of(item.subject, config.split)
    rows = before.find(item, number)
    return make_job(item=item, slice=number, split=split, known=rows, is_unchanged=known.are_unchanged(rows))


def _without_clashes(items: list[Item], before: ExistingCases) -> tuple[list[Item], list[Rejection]]:
    """Scans that would not overwrite the cases of another scan; and those that would."""
    accepted, refused = [], []
    for item in items:
        path = str(item.source.path)
        rows = (row for number in range(item.n_slices) for row in before.find(item, number))
        other = next((row for row in rows if row.source != path and row.source_sha256 != item.sha256), None)
        if other is not None:
            what = f"its cases would overwrite those of another scan, {other.source}"
            hint = "prepare a folder that holds both, or choose another folder for the cases"
            refused.append(Rejection(item.source.path, what, path, hint))
        else:
            accepted.append(item)
    return accepted, refused


def _without_other_split(
    items: list[Item], config: PrepareConfig, before: ExistingCases
) -> tuple[list[Item], list[Rejection]]:
    """Scans whose subjects may be in the only split that is requested; and those whose subjects are in another one.

    A subject in two splits would be trained and tested on, and one that silently stays in its split be expected in the
    other. With shares of several splits, the split of the index is kept.
    """
    requested = [name for name, share in zip(SPLITS, config.split, strict=True) if share > 0]
    accepted, refused = [], []
    for item in items:
        split = before.splits.get(item.subject)
        if split is None or len(requested) > 1 or split == requested[0]:
            accepted.append(item)
        else:
            what = f"the subject {item.subject} is in {split} already, not in {requested[0]}"
            hint = f"--split {split}; or another folder for the cases of {requested[0]}"
            refused.append(Rejection(item.source.path, what, f"--split, {item.source.path}", hint))
    return accepted, refused


def _without_copies(items: list[Item], before: ExistingCases) -> tuple[list[Item], int]:
    """Each content under one name, its former one if it has any: copies could put one subject into two splits."""
    subjects = {(row.source_sha256, row.slice): row.subject for row in before.rows}
    first: dict[tuple[str, str], Item] = {}
    for item in items:
        if subjects.get((item.sha256, 0), item.subject) == item.subject:
            first.setdefault((item.sha256, item.series), item)
    return list(first.values()), len(items) - len(first)


def _processes_for(n_tasks: int, n_processes: int) -> int:
    """Number of processes for a number of tasks."""
    return 1 if n_tasks <= MAX_SERIAL_TASKS else n_processes
