"""From any archive of scans to prepared cases: survey, split by subject, then slice after slice."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.io.case_index import INDEX, IndexRow, append_rows
from cinerecon.machine import in_processes, n_cores
from cinerecon.preparation.config import SPLITS, PrepareConfig
from cinerecon.preparation.folder import ExistingCases, finish_index, read_existing_cases, start_folder
from cinerecon.preparation.prepare_slice import (
    ExcludedFile,
    PreparedSlice,
    Rejection,
    SliceJob,
    prepare_slice,
    survey_source,
)
from cinerecon.preparation.sources import FORMATS, Item, Source, find_sources

FEW = 4
"""Tasks that are not worth the seconds a further process takes to start."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class PrepareReport:
    """Result of a preparation.

    Attributes
    ----------
    rows
        The cases of this run, including those that existed already.
    n_new
        Number of cases that were created in this run.
    refused
        Files and slices that could not be prepared, with the reason.
    passed
        Number of excluded files in folders, by reason.
    n_unknown_subjects
        Number of files that count as separate subjects because the subject is unknown.
    warnings
        Warnings, each with the number of slices it concerns.
    index
        The index of all cases of the folder.
    """

    rows: tuple[IndexRow, ...]
    n_new: int
    refused: tuple[Rejection, ...]
    passed: dict[str, int]
    n_unknown_subjects: int
    warnings: dict[str, int]
    index: Path

    def count(self, split: str) -> tuple[int, int, int]:
        """Numbers of subjects, slices and cases of a split."""
        rows = [row for row in self.rows if row.split == split]
        return len({r.subject for r in rows}), len({(r.source_sha256, r.slice) for r in rows}), len(rows)


def prepare(
    paths: Iterable[Path],
    folder: Path,
    config: PrepareConfig | None = None,
    *,
    workers: int | None = None,
    force: bool = False,
    draws: bool = True,
    progress: Progress | None = None,
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
        Processes; None takes as many as there are cores. A few slices are prepared by one in any case.
    force
        Prepare existing cases again. Cases that were prepared with other settings are removed as soon as there are
        new ones.
    draws
        Draw a picture of each slice.
    progress
        Called with the current step and the fraction completed.

    Raises
    ------
    FileError
        If nothing is found, or the folder cannot be written.
    ConfigError
        If the folder holds cases prepared with other settings, and `force` is not set.
    DataError
        If a process dies, most often for lack of memory.
    """
    config = config or PrepareConfig()
    sources, passed = find_sources(paths, folder)
    before = read_existing_cases(folder, config, force=force)
    n_processes = workers or n_cores()
    report = progress or (lambda *_: None)
    report("reading headers", 0.0)
    items, refused, left_out = _survey_all(sources, config, n_processes)
    if left_out and not (items or refused):
        what = f"nothing to prepare is found, only {left_out[0].kind}: {left_out[0].reason}"
        raise FileError(what, where=str(left_out[0].path), hint=FORMATS)
    items.sort(key=lambda item: item.name)
    if items:
        before = start_folder(folder, config, before)
    items, clashing = _without_clashes(items, before)
    refused += clashing
    items, n_copies = _without_copies(items, before)
    passed |= _counted(left_out)
    passed |= {"copies of other files, under another name": n_copies} if n_copies else {}
    tasks = [
        _job(item, number, folder, config, before, force=force, draws=draws)
        for item in items
        for number in range(item.n_slices)
    ]
    prepared, rejected = _prepare_slices(tasks, folder, n_processes, report)
    refused = sorted([*refused, *rejected], key=lambda refusal: (str(refusal.path), refusal.where))
    rows = tuple(row for cases in prepared for row in cases.rows)
    finish_index(folder, rows, refused)
    n_new = sum(len(cases.rows) for cases in prepared if cases.is_new)
    n_unknown = sum(not item.is_subject_known for item in items)
    warnings = Counter(text for cases in prepared for text in cases.warnings)
    return PrepareReport(rows, n_new, tuple(refused), passed, n_unknown, dict(warnings), folder / INDEX)


def _prepare_slices(
    jobs: list[SliceJob], folder: Path, n_processes: int, report: Progress
) -> tuple[list[PreparedSlice], list[Rejection]]:
    """The cases of each slice, with those that are new added to the index; and the slices that are refused."""
    prepared: list[PreparedSlice] = []
    rejected: list[Rejection] = []
    for n, outcome in enumerate(in_processes(prepare_slice, jobs, _worth(len(jobs), n_processes))):
        report(f"slice {n + 1} of {len(jobs)}", (n + 1) / len(jobs))
        if isinstance(outcome, Rejection):
            rejected.append(outcome)
            continue
        if outcome.is_new:
            append_rows(folder, outcome.rows)
        prepared.append(outcome)
    return prepared, rejected


def _survey_all(
    sources: list[Source], config: PrepareConfig, n_processes: int
) -> tuple[list[Item], list[Rejection], list[ExcludedFile]]:
    """Open all sources: the scans, what is refused, and the files of folders that hold no cine."""
    surveys = in_processes(partial(survey_source, config=config), sources, _worth(len(sources), n_processes))
    found = [one for survey in surveys for one in survey]
    items = [one for one in found if isinstance(one, Item)]
    refused = [one for one in found if isinstance(one, Rejection)]
    return items, refused, [one for one in found if isinstance(one, ExcludedFile)]


def _counted(left_out: list[ExcludedFile]) -> dict[str, int]:
    """Number of excluded files of each kind, with an example."""
    example = {one.kind: one.path.name for one in reversed(left_out)}
    return {f"{kind}, such as {example[kind]}": n for kind, n in Counter(one.kind for one in left_out).items()}


def split_of(subject: str, shares: Sequence[float]) -> str:
    """The split of a subject: by a hash of the name, so that it does not depend on the other subjects."""
    place = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        place -= share
        if place < 0:
            return split
    return next(split for split, share in zip(SPLITS, shares, strict=True) if share > 0)


def _job(
    item: Item, number: int, folder: Path, config: PrepareConfig, before: ExistingCases, *, force: bool, draws: bool
) -> SliceJob:
    """The job of a slice; a subject stays in its split of the index even if the shares have changed."""
    split = before.splits.get(item.subject) or split_of(item.subject, config.split)
    return SliceJob(item, number, split, folder, config, before.find(item, number), is_forced=force, draws=draws)


def _without_clashes(items: list[Item], before: ExistingCases) -> tuple[list[Item], list[Rejection]]:
    """Scans that would not overwrite the cases of another scan; and those that would."""
    kept, refused = [], []
    for item in items:
        path = str(item.source.path)
        rows = (row for number in range(item.n_slices) for row in before.find(item, number))
        other = next((row for row in rows if row.source != path and row.source_sha256 != item.sha256), None)
        if other is not None:
            what = f"its cases would overwrite those of another scan, {other.source}"
            hint = "prepare a folder that holds both, or choose another folder for the cases"
            refused.append(Rejection(item.source.path, what, path, hint))
        else:
            kept.append(item)
    return kept, refused


def _without_copies(items: list[Item], before: ExistingCases) -> tuple[list[Item], int]:
    """Each content under one name, the one it had before: a copy could put one subject into two splits."""
    subjects = {(row.source_sha256, row.slice): row.subject for row in before.rows}
    first: dict[tuple[str, str], Item] = {}
    for item in items:
        if subjects.get((item.sha256, 0), item.subject) == item.subject:
            first.setdefault((item.sha256, item.series), item)
    return list(first.values()), len(items) - len(first)


def _worth(n_tasks: int, n_processes: int) -> int:
    """The processes that so many tasks are worth."""
    return 1 if n_tasks <= FEW else n_processes
