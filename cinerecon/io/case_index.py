"""The list of prepared cases in a folder: ``index.csv``, one line per case, written as cases are finished."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Self

from cinerecon.errors import FileError
from cinerecon.io.csv_file import append_csv, read_csv, write_csv
from cinerecon.io.shards import shard_folders, sharded_commands

INDEX = "index.csv"
SPLITS = ("train", "val", "test")
WINDOW = r"_\d+x\d+x\d+_at_[\d_]+"
"""End of the name of a patch."""
NUMBERED = re.compile(rf"_slice\d\d+({WINDOW})?$")
"""End of the name of a case."""
PREPARE = "prepare"
"""The command that prepares cases, after which its shards are named."""


@dataclass(frozen=True)
class IndexRow:
    """One prepared case.

    Attributes
    ----------
    case
        Its file, relative to the folder.
    split
        ``train``, ``val`` or ``test``.
    subject
        Name of the subject; all cases of a subject are in one split.
    source, slice
        File that the case was made from, and number of the slice in it.
    part, n_parts
        Number of the patch among those cut from the slice; 0 of 1 for a whole slice.
    frames, coils, ky, kx
        Sizes of k-space.
    acceleration
        Number of k-space points over number of sampled points.
    marks
        Marks of the case, see `io.case.MARKS`, separated by semicolons.
    source_sha256, settings_sha256, sha256
        Hashes of the source file, of the settings of preparation, and of the case itself.
    """

    case: str
    split: str
    subject: str
    source: str
    slice: int
    part: int
    n_parts: int
    frames: int
    coils: int
    ky: int
    kx: int
    acceleration: float
    marks: str
    source_sha256: str
    settings_sha256: str
    sha256: str

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Self | None:
        """A row from its texts; None for a line that was cut short."""
        try:
            values = {field.name: field.type(texts[field.name]) for field in fields(cls)}  # type: ignore[operator]
        except (KeyError, TypeError, ValueError):
            return None
        row = cls(**values)
        return row if len(row.sha256) == hashlib.sha256().digest_size * 2 else None


NAMES = [field.name for field in fields(IndexRow)]


def case_names(case: str) -> set[str]:
    """Possible names of the slice that a case of the index was prepared from, as `Item.case_name` gives it.

    ``test/cine_slice07_4x12x16_at_0_6_0.h5`` is a patch of ``cine_slice07``, or a case of that name prepared again.
    """
    name = case.partition("/")[2].removesuffix(".h5")
    return {name, re.sub(f"{WINDOW}$", "", name)}


def holds_cases(folder: Path) -> bool:
    """Whether a folder contains prepared cases that are listed in its index.

    Raises
    ------
    FileError
        If the cases were prepared by shards that have not been merged.
    """
    if (folder / INDEX).exists():
        return True
    if PREPARE in sharded_commands(folder):
        what = "the cases here were prepared in shards that have not been merged"
        raise FileError(what, where=str(folder), hint=f"cinerecon merge {folder}")
    return False


def read_index(folder: Path) -> list[IndexRow]:
    """The rows of a folder's index; empty if there is none. A line truncated by an interruption is omitted.

    Raises
    ------
    FileError
        If the file cannot be read, or lacks a column.
    """
    rows = read_csv(folder / INDEX, IndexRow.parse, "the index", NAMES)
    return [row for row in rows if row is not None]


def unlisted_cases(folder: Path) -> list[Path]:
    """Files in the folders of the splits that neither the index nor that of a shard lists."""
    indices = (folder, *(records for records, _ in shard_folders(folder, PREPARE)))
    listed = {row.case for records in indices for row in read_index(records)}
    files = (path for split in SPLITS for path in (folder / split).rglob("*.h5") if not path.name.startswith("."))
    return sorted(path for path in files if path.relative_to(folder).as_posix() not in listed)


def remove_cases(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Remove the files of cases; the index is left as it is, see `keep_existing_rows`."""
    for row in rows:
        (folder / row.case).unlink(missing_ok=True)


def keep_existing_rows(folder: Path, cases: Path) -> int:
    """Remove the rows of an index whose cases do not exist, and return the number of the others.

    Raises
    ------
    FileError
        If the file system refuses.
    """
    rows = read_index(folder)
    existing = [row for row in rows if (cases / row.case).exists()]
    if len(existing) < len(rows):
        write_index(folder, existing)
    return len(existing)


def append_rows(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Add rows at the end of the index."""
    append_csv(folder / INDEX, NAMES, map(astuple, rows))


def write_index(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Write the complete index, sorted by case, in one atomic step."""
    write_csv(folder / INDEX, NAMES, map(astuple, sorted(rows, key=lambda row: row.case)))


def list_cases(folder: Path, split: str | None = None) -> list[Path]:
    """The prepared cases of a folder, of one split or of all, in the order of their names.

    Raises
    ------
    FileError
        If there is no index, or no case in the split.
    """
    if not holds_cases(folder):
        raise FileError(f"no prepared cases here: there is no {INDEX}", where=str(folder), hint="cinerecon prepare")
    paths = [folder / row.case for row in read_index(folder) if split in (None, row.split)]
    if not paths:
        of_split = f" of the split '{split}'" if split else ""
        others = " or ".join(sorted({str(folder / row.case.split("/")[0]) for row in read_index(folder)}))
        hint = f"prepare some with --split {split or 'test'}" + (f", or name another split: {others}" if others else "")
        raise FileError(f"the index contains no case{of_split}", where=str(folder / INDEX), hint=hint)
    return sorted(paths)
