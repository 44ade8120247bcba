"""Journals: files of JSON lines, to which results are appended as soon as they are available."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cinerecon.errors import FileError
from cinerecon.io.atomic import append_text, write_text


class Journal:
    """Entries by key, which are written to the disk when they are added; later entries replace earlier ones.

    Lines that are incomplete after an interruption are ignored. Entries are kept in memory as text to save memory.

    Parameters
    ----------
    path
        The file.
    keys
        Keys of each value; entries without one of them, e.g. from another version of the program, are ignored.

    Raises
    ------
    FileError
        If the file exists and cannot be read.
    """

    def __init__(self, path: Path, keys: Sequence[str] = ()) -> None:
        self.path = path
        self._lines: dict[str, str] = {}
        if not path.exists():
            return
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    if key := _key(line, keys):
                        self._lines[key] = line
        except OSError as error:
            raise FileError(f"cannot read the journal: {error.strerror or error}", where=str(path)) from None

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def get(self, key: str) -> Any:
        """The value of a key; None if there is none."""
        line = self._lines.get(key)
        return None if line is None else json.loads(line)[1]

    def add(self, key: str, value: Any) -> None:
        """Append an entry.

        Raises
        ------
        FileError
            If the file cannot be written.
        """
        line = _line(key, value)
        append_text(self.path, line)
        self._lines[key] = line

    def replace(self, entries: dict[str, Any]) -> None:
        """Replace all entries, and write the file atomically.

        Raises
        ------
        FileError
            If the file cannot be written.
        """
        self._lines = {key: _line(key, value) for key, value in entries.items()}
        write_text(self.path, "".join(self._lines.values()))


def _line(key: str, value: Any) -> str:
    return json.dumps([key, value]) + "\n"


def _key(line: str, keys: Sequence[str]) -> str:
    """The key of a line; empty if the line is damaged, or its value lacks one of the required keys."""
    try:
        key, value = json.loads(line)
    except (ValueError, TypeError):
        return ""
    is_complete = not keys or (isinstance(value, dict) and all(name in value for name in keys))
    return key if isinstance(key, str) and is_complete else ""
