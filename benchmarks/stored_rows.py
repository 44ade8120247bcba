"""Rows of a table in a file, so that several runs can share the work on a long table.

The first line of the file contains the properties shared by all rows, each further line contains a row, as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from classical_tables import Row
from usage import Usage

from cinerecon.errors import FileError

Key = tuple[str, int, str, str]
FORMER_LABELS = {"released, held": "released (fixed penalties)"}
"""Labels of methods in files of earlier versions."""


class StoredRows:
    """Rows by case and method, read from the file and added to it.

    Parameters
    ----------
    path
        The file, which is created if it does not exist; None keeps the rows in memory only.
    common
        Properties shared by all rows, as values for JSON: the machine and the settings of the cases.
    """

    def __init__(self, path: Path | None, common: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[Key, Row] = {}
        header = {"common": json.loads(json.dumps(common))}
        if path is None:
            return
        if path.exists():
            first, *lines = path.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != header:
                what = f"the file contains rows with other properties: {first} instead of {json.dumps(header)}"
                raise FileError(what, where=str(path), hint="--keep with another file")
            for row in map(parse, lines):
                self.rows[key_of(row)] = row
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def add(self, row: Row) -> None:
        """Add a row, and write it to the file."""
        self.rows[key_of(row)] = row
        self._append(asdict(row))

    def sorted(self, methods: list[str]) -> list[Row]:
        """All rows: by anatomy, coils, sampling, then in the order of the methods, others last."""
        anatomies = list(dict.fromkeys(row.anatomy for row in self.rows.values()))

        def rank(row: Row) -> tuple[int, int, str, int]:
            order = methods.index(row.method) if row.method in methods else len(methods)
            return anatomies.index(row.anatomy), row.n_coils, row.sampling, order

        return sorted(self.rows.values(), key=rank)

    def _append(self, content: Mapping[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")


def key_of(row: Row) -> Key:
    """Key that identifies a row of the table."""
    return *row.case, row.method


def parse(line: str) -> Row:
    """Parse a line of the file."""
    values = json.loads(line)
    method = FORMER_LABELS.get(values["method"], values["method"])
    return Row(**values | {"method": method, "usage": Usage(**values["usage"])})
