"""From any archive of scans to prepared cases: survey, split by person, then slice after slice."""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import yaml

from cinerecon.config import read_yaml
from cinerecon.data.case_index import INDEX, IndexRow, append_rows, read_index, write_index
from cinerecon.data.files import moved_into_place, refuse_existing
from cinerecon.errors import ConfigError
from cinerecon.workflows.machine import in_processes, n_cores
from cinerecon.workflows.prepare.config import SPLITS, PrepareConfig
from cinerecon.workflows.prepare.sources import Item, find_sources
from cinerecon.workflows.prepare.work import Job, Refusal, prepare_slice, survey_source

SETTINGS, REFUSED = "settings.yaml", "refused.csv"
FEW = 4
"""Tasks that are not worth the seconds a further process takes to start."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class PrepareReport:
    """What was prepared.

    Attributes
    ----------
    rows
        The cases of this run, those that were there already included.
    n_new
        Cases made in this run.
    refused
        What could not be prepared, and why.
    passed
        Files of folders that were passed over, by reason.
    n_unknown_persons
        Files that count as a person of their own, because nothing tells who was scanned.
    warnings
        What a user should know, with the number of slices it concerns.
    index
        The list of all cases of the folder.
    """

    rows: tuple[IndexRow, ...]
    n_new: int
    refused: tuple[Refusal, ...]
    passed: dict[str, int]
    n_unknown_persons: int
    warnings: dict[str, int]
    index: Path

    def count(self, split: str) -> tuple[int, int, int]:
        """Persons, slices and cases of a split."""
        rows = [row for row in self.rows if row.split == split]
        return len({r.subject for r in rows}), len({(r.source_sha256, r.slice) for r in rows}), len(rows)


def prepare(
    paths: Iterable[Path],
    folder: Path,
    config: PrepareConfig | None = None,
    *,
    jobs: int | None = None,
    force: bool = False,
    draws: bool = True,
    progress: Progress | None = None,
) -> PrepareReport:
    """Prepare all cines among files and folders. What was prepared before, and is as it was, is not done again.

    Parameters
    ----------
    paths
        Files, or folders that are walked: ISMRMRD scans, CMRxRecon files, magnitude cines, prepared cases.
    folder
        Where the cases go: a folder for each split, ``index.csv``, ``settings.yaml``, pictures.
    config
        How.
    jobs
        Processes; None takes as many as there are cores. A few slices are prepared by one in any case.
    force
        Prepare anew, and leave out what the folder's index lists.
    draws
        Whether a picture is drawn of each slice.
    progress
        Called with what is being done and the fraction done.

    Raises
    ------
    FileError
        If nothing is found, or the folder cannot be written.
    ConfigError
        If the folder holds cases prepared with other settings.
    DataError
        If a process dies, most often for lack of memory.
    """
    config = config or PrepareConfig()
    sources, passed = find_sources(paths, folder)
    before = _open_folder(folder, config, force=force)
    n_processes = jobs or n_cores()
    items: list[Item] = []
    refused: list[Refusal] = []
    tell = progress or (lambda *_: None)
    tell("reading headers", 0.0)
    for found in in_processes(partial(survey_source, config=config), sources, _worth(len(sources), n_processes)):
        if isinstance(found, Refusal):
            refused.append(found)
        else:
            items += found
    items.sort(key=lambda item: item.name)
    items, clashing = _without_clashes(items, before)
    refused += clashing
    items, n_copies = _without_copies(items, before)
    passed |= {"copies of other files, under another name": n_copies} if n_copies else {}
    tasks = [_job(item, number, folder, config, before, draws) for item in items for number in range(item.n_slices)]
    rows: list[IndexRow] = []
    n_new, warnings = 0, Counter[str]()
    for n, done in enumerate(in_processes(prepare_slice, tasks, _worth(len(tasks), n_processes))):
        tell(f"slice {n + 1} of {len(tasks)}", (n + 1) / len(tasks))
        if isinstance(done, Refusal):
            refused.append(done)
            continue
        if done.is_new:
            append_rows(folder, done.rows)
            n_new += len(done.rows)
        rows += done.rows
        warnings.update(done.warnings)
    refused.sort(key=lambda refusal: (str(refusal.path), refusal.where))
    _finish_folder(folder, rows, refused)
    n_unknown = sum(not item.is_person_known for item in items)
    return PrepareReport(tuple(rows), n_new, tuple(refused), passed, n_unknown, dict(warnings), folder / INDEX)


def split_of(person: str, shares: Sequence[float]) -> str:
    """The split of a person: by a hash of the name, so that it never changes, whoever else comes or goes."""
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        place -= share
        if place < 0:
            return split
    return next(split for split, share in zip(SPLITS, shares, strict=True) if share > 0)


def _open_folder(folder: Path, config: PrepareConfig, *, force: bool) -> list[IndexRow]:
    """Make the folder ready, and say what it holds that was prepared with the same settings.

    Raises
    ------
    FileError
        If it cannot be written.
    ConfigError
        If it holds cases prepared with other settings.
    """
    settings = folder / SETTINGS
    refuse_existing(settings, force=True)
    rows = read_index(folder)
    if settings.exists() and not force:
        stored = PrepareConfig.parse(read_yaml(settings), where=str(settings))
        stored = stored.model_copy(update={"split": config.split})  # for persons to come
        if stored != config:
            here, asked = stored.model_dump(), config.model_dump()
            name = next(name for name in here if here[name] != asked[name])
            words = ["not set" if value is None else value for value in (here[name], asked[name])]
            what = f"the folder was prepared with {name} {words[0]}, asked for is {words[1]}"
            raise ConfigError(what, where=str(folder), hint="choose another folder, or prepare it anew with --force")
    if force:
        for row in rows:
            (folder / row.case).unlink(missing_ok=True)
        rows = []
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.rglob(".partial-*"):
        left.unlink(missing_ok=True)
    with moved_into_place(settings) as temporary:
        temporary.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    if rows or force:
        write_index(folder, rows)
    return rows


def _finish_folder(folder: Path, rows: list[IndexRow], refused: list[Refusal]) -> None:
    """Put the index in order; cases of other runs stay in it."""
    done = {row.case: row for row in read_index(folder)} | {row.case: row for row in rows}
    write_index(folder, [row for row in done.values() if (folder / row.case).exists()])
    path = folder / REFUSED
    path.unlink(missing_ok=True)
    if refused:
        with moved_into_place(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["path", "what", "where", "hint"])
            writer.writeheader()
            writer.writerows(asdict(refusal) for refusal in refused)


def _job(item: Item, number: int, folder: Path, config: PrepareConfig, rows: list[IndexRow], draws: bool) -> Job:
    """What is to be done for a slice; a person stays in the split that the index has, whatever the shares are now."""
    known = tuple(row for row in rows if row.slice == number and _is_of(row, item))
    before = next((row.split for row in rows if row.subject == item.person), None)
    return Job(item, number, before or split_of(item.person, config.split), folder, config, known, draws)


def _is_of(row: IndexRow, item: Item) -> bool:
    """Whether a case bears the name of a slice of a scan."""
    name = item.case_name(row.slice)
    return row.case.partition("/")[2].startswith((f"{name}.", f"{name}_"))


def _without_clashes(items: list[Item], rows: list[IndexRow]) -> tuple[list[Item], list[Refusal]]:
    """Scans that would not overwrite the cases of another scan; and those that would."""
    kept, refused = [], []
    for item in items:
        path = str(item.source.path)
        others = [r for r in rows if _is_of(r, item) and r.source != path and r.source_sha256 != item.sha256]
        if others:
            what = f"its cases would overwrite those of another scan, {others[0].source}"
            hint = "prepare a folder that holds both, or choose another folder for the cases"
            refused.append(Refusal(item.source.path, what, path, hint))
        else:
            kept.append(item)
    return kept, refused


def _without_copies(items: list[Item], rows: list[IndexRow]) -> tuple[list[Item], int]:
    """Each content under one name, the one it had before: a copy could put one person into two splits."""
    persons = {(row.source_sha256, row.slice): row.subject for row in rows}
    first: dict[tuple[str, str], Item] = {}
    for item in items:
        if persons.get((item.sha256, 0), item.person) == item.person:
            first.setdefault((item.sha256, item.series), item)
    return list(first.values()), len(items) - len(first)


def _worth(n_tasks: int, n_processes: int) -> int:
    """The processes that so many tasks are worth."""
    return 1 if n_tasks <= FEW else n_processes
