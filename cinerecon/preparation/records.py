"""Records of a preparation: what was found in each source, and the state of each case when it was written.

An interrupted preparation, or one with further scans, neither opens a source again nor reads a case again whose size
and time of modification have stayed.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cinerecon.io.atomic import file_state
from cinerecon.io.case_index import IndexRow
from cinerecon.io.journal import Journal
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.prepare_slice import Survey
from cinerecon.preparation.sources import Item, Source

SOURCES, CASES = "sources.jsonl", "cases.jsonl"


class PrepareRecords:
    """What is known of sources and cases from earlier in this run, and from earlier runs.

    Parameters
    ----------
    folder
        Folder of the cases.
    records
        Folder of the records: that of the cases, or that of a shard.
    config
        Settings of the preparation; sources are surveyed again after other settings.
    """

    def __init__(self, folder: Path, records: Path, config: PrepareConfig) -> None:
        self.folder, self._cases_folder, self._settings = records, folder, config.sha256
        self._sources, self._cases = Journal(records / SOURCES), Journal(records / CASES)

    def knows(self, path: Path) -> bool:
        """Whether a file was surveyed before; its present content is not looked at."""
        return str(path.absolute()) in self._sources

    def find(self, source: Source) -> list[Item] | None:
        """The scans of a source; None if they are not known, or a file has changed."""
        entry = self._sources.get(str(source.path.absolute()))
        if entry is None or entry["key"] != self._key(source) or entry["files"] != _states(source, entry["files"]):
            return None
        return [Item(source=source, **values) for values in entry["items"]]

    def add_survey(self, survey: Survey) -> None:
        """Record the scans of a source; one that is refused, or holds anything else, is surveyed again."""
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
