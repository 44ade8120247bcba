"""The folder of prepared cases: its index, settings and records, and the selection of existing cases to keep.

A preparation that is resumed or extended by further scans neither opens sources nor reads cases whose size and
modification time are unchanged.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from cinerecon.archives.case_index import INDEX, IndexRow, case_names, read_index, write_index
from cinerecon.archives.journal import Journal
from cinerecon.config import differences, read_yaml
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import clear_partial, refuse_existing, write_text
from cinerecon.io.checksums import file_state
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.prepare_slice import Survey
from cinerecon.preparation.report import Rejection, write_refused
from cinerecon.preparation.sources import Item, Source, with_former_name

SETTINGS = "settings.yaml"
ENTRY = ("key", "files", "items")
"""Keys of the entries of the sources."""
SOURCES, CASES = "sources.jsonl", "cases.jsonl"


class ExistingCases:
    """Cases that a folder contains before a run.

    Parameters
    ----------
    rows
        Rows of the index.
    is_compatible
        Whether the cases were prepared with the same settings; the split may differ, since it affects only new
        subjects.
    """

    def __init__(self, rows: Iterable[IndexRow], *, is_compatible: bool = True) -> None:
        self.rows = list(rows)
        self.is_compatible = is_compatible
        self.splits = {row.subject: row.split for row in reversed(self.rows)}
        self.subjects = {(row.source_sha256, row.slice): row.subject for row in self.rows}
        self._names = {(row.source_sha256, name) for row in self.rows for name in case_names(row.case)}
        self._first_cases = {row.source_sha256: row.case for row in reversed(self.rows) if row.slice == 0}
        self._by_slice: dict[tuple[str, int], list[IndexRow]] = defaultdict(list)
        for row in self.rows:
            for name in case_names(row.case):
                self._by_slice[name, row.slice].append(row)

    def with_former_names(self, items: Iterable[Item]) -> list[Item]:
        """The scans, with their former names if they were already prepared under another name."""
        return [
            item if (item.sha256, item.case_name(0)) in self._names else with_former_name(item, self._first_cases)
            for item in items
        ]

    def find(self, item: Item, number: int) -> tuple[IndexRow, ...]:
        """The existing cases of a slice of a scan."""
        return tuple(self._by_slice.get((item.case_name(number), number), ()))


class CaseFolder:
    """The folder of prepared cases: settings, index, and records of the sources and cases of this run and earlier ones.

    A shard has a separate index and separate records. Sources are surveyed again if the settings have changed.

    Parameters
    ----------
    path
        Folder of the cases.
    records
        Folder of the index and the records.
    config
        Settings of the preparation.
    """

    def __init__(self, path: Path, records: Path, config: PrepareConfig) -> None:
        self.path, self.records, self.config = path, records, config
        self._sources, self._cases = Journal(records / SOURCES, ENTRY), Journal(records / CASES)

    @property
    def is_shard(self) -> bool:
        """Whether the cases are those of one of several shards."""
        return self.records != self.path

    def existing_cases(self, *, force: bool) -> ExistingCases:
        """Cases and settings of the folder, which is not modified. With ``force``, different settings are accepted.

        Raises
        ------
        FileError
            If the folder cannot be written.
        ConfigError
            If it contains cases prepared with different settings, and ``force`` is not set or this is a shard.
        """
        settings, force = self.path / SETTINGS, force and not self.is_shard
        refuse_existing(settings, force=True)
        indices = map(read_index, dict.fromkeys((self.path, self.records)))
        rows = list({row.case: row for index in indices for row in index}.values())
        if not settings.exists():
            return ExistingCases(rows)
        try:
            stored = PrepareConfig.parse(read_yaml(settings), where=str(settings))
        except ConfigError as error:  # damaged, or from another version
            if force:
                return ExistingCases(rows, is_compatible=False)
            what = f"cannot read the settings of this folder: {error.what}"
            raise ConfigError(what, where=error.where, hint=self._other_folder) from None
        stored = stored.model_copy(update={"split": self.config.split})
        if stored == self.config or force:
            return ExistingCases(rows, is_compatible=stored == self.config)
        name, here, asked = next(differences(stored.model_dump(mode="json"), self.config.model_dump(mode="json")))
        words = ["not set" if value is None else value for value in (here, asked)]
        what = f"the folder was prepared with {name} {words[0]}, but the requested value is {words[1]}"
        raise ConfigError(what, where=str(self.path), hint=self._other_folder)

    @property
    def _other_folder(self) -> str:
        return "choose another folder" + ("" if self.is_shard else ", or --force, which removes the cases in it")

    def start(self, before: ExistingCases) -> ExistingCases:
        """Remove cases with other settings and incomplete files, write the settings, and return the remaining cases."""
        self.path.mkdir(parents=True, exist_ok=True)
        clear_partial(self.path)
        if not before.is_compatible:
            for row in before.rows:
                (self.path / row.case).unlink(missing_ok=True)
            before = ExistingCases([])
            write_index(self.path, [])
        elif self.is_shard:
            write_index(self.records, read_index(self.records))  # an incomplete line would corrupt the next one
        elif before.rows:
            write_index(self.path, before.rows)
        write_text(self.path / SETTINGS, yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False))
        return before

    def finish(self, rows: Iterable[IndexRow], refused: Iterable[Rejection]) -> None:
        """Add the cases of this run to the index, keeping those of other runs, and list rejected files.

        Without any case no index is created, since a folder with an index counts as one of prepared cases.
        """
        done = {row.case: row for row in read_index(self.records)} | {row.case: row for row in rows}
        if done or (self.records / INDEX).exists():
            write_index(self.records, [row for row in done.values() if (self.path / row.case).exists()])
        write_refused(self.records, refused)

    def knows(self, path: Path) -> bool:
        """Whether a file was surveyed before; whether it has changed is not checked."""
        return str(path.absolute()) in self._sources

    def find(self, source: Source) -> list[Item] | None:
        """The recorded scans of a source; None if it is not recorded, or a file has changed."""
        entry = self._sources.get(str(source.path.absolute()))
        if entry is None or entry["key"] != self._key(source) or entry["files"] != _states(source, entry["files"]):
            return None
        try:
            return [Item(source=source, **values) for values in entry["items"]]
        except TypeError:  # record from another version
            return None

    def add_survey(self, survey: Survey) -> None:
        """Record the scans of a source; sources that contain anything other than scans are surveyed again."""
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
            self._cases.add(row.case, [file_state(self.path / row.case), row.sha256])

    def are_unchanged(self, rows: Iterable[IndexRow]) -> bool:
        """Whether the files of cases still have the size and modification time recorded when they were written."""
        return all(self._cases.get(row.case) == [file_state(self.path / row.case), row.sha256] for row in rows)

    def _key(self, source: Source) -> list[str]:
        return [self.config.sha256, source.name, source.folder_subject]


def _states(source: Source, files: Iterable[str]) -> dict[str, Any]:
    """Size and modification time of the files of a source, which for a DICOM folder are all its files."""
    if source.is_dicom:
        with os.scandir(source.path) as entries:
            files = sorted(entry.path for entry in entries if entry.is_file())
    return {file: file_state(Path(file)) for file in files}
