"""Rows of a table kept in a file, so that a long one can be made in parts: each run adds what is not there yet.

The first line holds what all rows have in common, each further line a row, as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from report import Row
from worker import Usage

Key = tuple[str, int, str, str]


class KeptRows:
    """The rows known so far, by case and method; those in the file to begin with.

    Parameters
    ----------
    path
        The file, which is made where it is missing; None keeps rows in memory alone.
    common
        What all rows have in common: the machine and what the cases are like, things that JSON can hold.
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
                raise SystemExit(f"{path} holds rows of another kind: {first}\nthis run has {json.dumps(header)}")
            for row in map(parse, lines):
                self.rows[key_of(row)] = row
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def add(self, row: Row) -> None:
        """Keep another row."""
        self.rows[key_of(row)] = row
        self._append(asdict(row))

    def sorted(self, methods: list[str]) -> list[Row]:
        """All rows: by anatomy, coils, sampling, then in the order of the methods, others last."""
        anatomies = list(dict.fromkeys(row.anatomy for row in self.rows.values()))

        def place(row: Row) -> tuple[int, int, str, int]:
            order = methods.index(row.method) if row.method in methods else len(methods)
            return anatomies.index(row.anatomy), row.n_coils, row.sampling, order

        return sorted(self.rows.values(), key=place)

    def _append(self, content: Mapping[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")


def key_of(row: Row) -> Key:
    """Identifies a row among those of the same machine."""
    return *row.case, row.method


def parse(line: str) -> Row:
    """A row from its line."""
    values = json.loads(line)
    return Row(**values | {"usage": Usage(**values["usage"])})
