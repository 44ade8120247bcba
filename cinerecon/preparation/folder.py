"""The folder of prepared cases: its index, settings and records, and which existing cases are kept.

An interrupted preparation that continues, or one with further scans, opens no source and reads no case whose size and
time of modification are unchanged.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from cinerecon.config import differences, read_yaml
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import clear_partial, file_state, refuse_existing, write_text
from cinerecon.io.case_index import IndexRow, read_index, write_index
from cinerecon.io.journal import Journal
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.prepare_slice import Survey
from cinerecon.preparation.report import Rejection, write_refused
from cinerecon.preparation.sources import Item, Source, case_names

SETTINGS = "settings.yaml"
SOURCES, CASES = "sources.jsonl", "cases.jsonl"


class ExistingCases:
    """Cases that a folder contains before a run.

    Parameters
    ----------
    rows
        Rows of its index.
    is_compatible
        Whether it was prepared with the same settings; the split may differ, since it concerns new subjects only.
    """

    def __init__(self, rows: Iterable[IndexRow], *, is_compatible: bool = True) -> None:
        self.rows = list(rows)
        self.is_compatible = is_compatible
        self.splits = {row.subject: row.split for row in reversed(self.rows)}
        self._by_slice: dict[tuple[str, int], list[IndexRow]] = defaultdict(list)
        for row in self.rows:
            for name in case_names(row.case):
                self._by_slice[name, row.slice].append(row)

    def find(self, item: Item, number: int) -> tuple[IndexRow, ...]:
        """The cases with the name of a slice of a scan."""
        return tuple(self._by_slice.get((item.case_name(number), number), ()))


def read_existing_cases(
    folder: Path, config: PrepareConfig, *, force: bool, records: Path | None = None
) -> ExistingCases:
    """Cases and settings of a folder, which is not modified.

    Parameters
    ----------
    folder
        Folder of the cases.
    config
        Settings of the preparation.
    force
        Accept cases of other settings, which will be replaced.
    records
        Folder of the records of a shard, whose cases are added.

    Raises
    ------
    FileError
        If the folder cannot be written.
    ConfigError
        If it contains cases prepared with other settings, and ``force`` is not set, or this is a shard.
    """
    settings = folder / SETTINGS
    refuse_existing(settings, force=True)
    by_case = {row.case: row for row in (*read_index(folder), *(read_index(records) if records else ()))}
    rows = list(by_case.values())
    if not settings.exists():
        return ExistingCases(rows)
    try:
        stored = PrepareConfig.parse(read_yaml(settings), where=str(settings))
    except ConfigError:  # damaged, or of another version
        if force and records is None:
            return ExistingCases(rows, is_compatible=False)
        raise
    stored = stored.model_copy(update={"split": config.split})
    if stored == config or (force and records is None):
        return ExistingCases(rows, is_compatible=stored == config)
    name, here, asked = next(differences(stored.model_dump(mode="json"), config.model_dump(mode="json")))
    words = ["not set" if value is None else value for value in (here, asked)]
    what = f"the folder was prepared with {name} {words[0]}, the requested value is {words[1]}"
    hint = "choose another folder" + (", or --force, which removes the cases that are there" if records is None else "")
    raise ConfigError(what, where=str(folder), hint=hint)


def start_folder(
    folder: Path, config: PrepareConfig, before: ExistingCases, records: Path | None = None
) -> ExistingCases:
    """Remove cases of other settings and remains of interruptions, and write the settings; returns the cases kept."""
    folder.mkdir(parents=True, exist_ok=True)
    clear_partial(folder)
    if not before.is_compatible:
        for row in before.rows:
            (folder / row.case).unlink(missing_ok=True)
        before = ExistingCases([])
        write_index(folder, [])
    elif records is not None:
        write_index(records, read_index(records))  # a line that was cut short would damage the next one
    elif before.rows:
        write_index(folder, before.rows)
    write_text(folder / SETTINGS, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return before


def finish_index(
    folder: Path, rows: Iterable[IndexRow], refused: Iterable[Rejection], records: Path | None = None
) -> None:
    """Update the index, which keeps the cases of other runs, and list rejected files.

    Parameters
    ----------
    folder
        Folder of the cases.
    rows
        The cases of this run.
    refused
        The rejected files.
    records
        Folder of the index, where it is not that of the cases.
    """
    records = records or folder
    done = {row.case: row for row in read_index(records)} | {row.case: row for row in rows}
    write_index(records, [row for row in done.values() if (folder / row.case).exists()])
    write_refused(records, refused)


class PrepareRecords:
    """Records of the sources and cases of this run and of earlier ones.

    Sources are surveyed again after other settings.
    """

    def __init__(self, folder: Path, records: Path, config: PrepareConfig) -> None:
        self.folder, self._cases_folder, self._settings = records, folder, config.sha256
        self._sources, self._cases = Journal(records / SOURCES), Journal(records / CASES)

    def knows(self, path: Path) -> bool:
        """Whether a file was surveyed before; whether it has changed is not checked."""
        return str(path.absolute()) in self._sources

    def find(self, source: Source) -> list[Item] | None:
        """The scans of a source; None if it is not recorded, or a file has changed."""
        entry = self._sources.get(str(source.path.absolute()))
        if entry is None or entry["key"] != self._key(source) or entry["files"] != _states(source, entry["files"]):
            return None
        return [Item(source=source, **values) for values in entry["items"]]

    def add_survey(self, survey: Survey) -> None:
        """Record the scans of a source; one with anything that is not a scan is surveyed again."""
        items = [item for item in survey.found if isinstance(item, Item)]
        if not items or len(items) < len(survey.found):
            return
        plain: list[dict[str, Any]] = [asdict(replace(item, source=None)) for item in items]  # type: ignore[arg-type]
        for values in plain:
            del values["source"]
        files = {str(path.absolute()): file_state(path) for path in survey.files}
        entry = {"key": self._key(survey.source), "files": _states(survey.source, files), "items": plain}
        self._sources.add(str(survey.source.path.absolute()), entry)

    def add_cases(self, rows: Iterable[IndexRow]) -> None:
        """Record the files of new cases."""
        for row in rows:
            self._cases.add(row.case, [file_state(self._cases_folder / row.case), row.sha256])

    def are_unchanged(self, rows: Iterable[IndexRow]) -> bool:
        """Whether the files of cases have the size and time that they were written with."""
        return all(self._cases.get(row.case) == [file_state(self._cases_folder / row.case), row.sha256] for row in rows)

    def _key(self, source: Source) -> list[str]:
        return [self._settings, source.name, source.folder_subject]


def _states(source: Source, files: Iterable[str]) -> dict[str, Any]:
    """Size and time of the files of a source; of a folder of DICOM images, those of all its files."""
    if source.is_dicom:
        with os.scandir(source.path) as entries:
            files = sorted(entry.path for entry in entries if entry.is_file())
    return {file: file_state(Path(file)) for file in files}
