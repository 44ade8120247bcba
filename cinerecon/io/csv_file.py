"""Tables in CSV files, written atomically or row by row; rows that are incomplete after an interruption are omitted."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from cinerecon.errors import FileError
from cinerecon.io.atomic import append_text, moved_into_place

T = TypeVar("T")


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Encode the rows of a table as lines of a CSV file."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table atomically; characters that are not valid Unicode are escaped.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    with (
        moved_into_place(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        csv.writer(file).writerows([header, *rows])


def rewrite_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Replace a table, or remove it if there are no rows.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    if rows:
        write_csv(path, header, rows)
    else:
        path.unlink(missing_ok=True)


def append_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append rows to a table, and flush it to the disk; a new table begins with its header.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    if path.exists() and path.stat().st_size:
        append_text(path, csv_text(rows))
    else:
        write_csv(path, header, rows)


def read_csv(path: Path, parse: Callable[[Mapping[str, str]], T], name: str, required: Sequence[str] = ()) -> list[T]:
    """Read a table; empty if the file does not exist.

    Parameters
    ----------
    path
        The file.
    parse
        Converts the strings of a row, by column, to an entry.
    name
        Name of the table in messages.
    required
        Columns that the table must have.

    Raises
    ------
    FileError
        If the file cannot be read, a column is missing, or a value is invalid.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = next(reader, [])
            missing = [column for column in required if columns and column not in columns]
            if missing:
                what = f"{name} has no column '{missing[0]}': another version or program wrote it"
                raise FileError(what, where=str(path), hint="move it away, or choose another folder")
            rows = [parse(dict(zip(columns, row, strict=True))) for row in reader if len(row) == len(columns)]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise FileError(f"cannot read {name}: {error}", where=str(path)) from None
    return rows
