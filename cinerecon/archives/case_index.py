"""The index of prepared cases in a folder, ``index.csv``, to which each finished case is appended."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Self

from cinerecon.archives.shards import shard_folders, sharded_commands
from cinerecon.errors import FileError
from cinerecon.io.csv_file import append_csv, read_csv, write_csv

INDEX = "index.csv"
SPLITS = ("train", "val", "test")
WINDOW = r"_\d+x\d+x\d+_at_[\d_]+"
"""Pattern for the end of the name of a patch."""
NUMBERED = re.compile(rf"_slice\d\d+({WINDOW})?$")
"""Pattern for the end of the name of a case."""
PREPARE = "prepare"
"""The command that prepares cases, which is part of the names of its shards."""


@dataclass(frozen=True)
class IndexRow:
    """The entry of a prepared case.

    Attributes
    ----------
    case
        Path of the case relative to the folder.
    split
        ``train``, ``val`` or ``test``.
    subject
        Name of the subject; all cases of a subject are in one split.
    source, slice
        File from which the case was prepared, and number of the slice in it.
    part, n_parts
        Index of the patch, and number of patches cut from the slice; 0 and 1 for a whole slice.
    frames, coils, ky, kx
        Shape of k-space.
    acceleration
        Number of k-space points divided by the number of sampled points.
    marks
        Marks of the case (keys of `io.case.MARKS`), separated by semicolons.
    source_sha256, settings_sha256, sha256
        Hashes of the source file, of the settings of the preparation, and of the case.
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
        """Parse a row; None for an incomplete line."""
        try:
            values = {field.name: field.type(texts[field.name]) for field in fields(cls)}  # type: ignore[operator]
        except (KeyError, TypeError, ValueError):
            return None
        row = cls(**values)
        return row if len(row.sha256) == hashlib.sha256().digest_size * 2 else None


NAMES = [field.name for field in fields(IndexRow)]


def case_names(case: str) -> set[str]:
    """Possible names of the slice from which a case was prepared, as in `Item.case_name`.

    ``test/cine_slice07_4x12x16_at_0_6_0.h5`` may be a patch of ``cine_slice07``, or a slice that has this name because
    it was prepared from such a patch.
    """
    name = case.partition("/")[2].removesuffix(".h5")
    return {name, re.sub(f"{WINDOW}$", "", name)}


def holds_cases(folder: Path) -> bool:
    """Whether a folder contains an index of prepared cases.

    Raises
    ------
    FileError
        If the cases were prepared in shards that have not been merged.
    """
    if (folder / INDEX).exists():
        return True
    if PREPARE in sharded_commands(folder):
        what = "the cases here were prepared in shards that have not been merged"
        raise FileError(what, where=str(folder), hint=f"cinerecon merge {folder}")
    return False


def read_index(folder: Path) -> list[IndexRow]:
    """Read the index of a folder; empty if there is none. Lines that are incomplete after an interruption are omitted.

    Raises
    ------
    FileError
        If the file cannot be read, or a column is missing.
    """
    rows = read_csv(folder / INDEX, IndexRow.parse, "the index", NAMES)
    return [row for row in rows if row is not None]


def unlisted_cases(folder: Path) -> list[Path]:
    """Files in the folders of the splits that are not listed in the index of the folder or of a shard."""
    indices = (folder, *(records for records, _ in shard_folders(folder, PREPARE)))
    listed = {row.case for records in indices for row in read_index(records)}
    files = (path for split in SPLITS for path in (folder / split).rglob("*.h5") if not path.name.startswith("."))
    return sorted(path for path in files if path.relative_to(folder).as_posix() not in listed)


def remove_cases(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Remove the files of cases; the index is not changed, see `keep_existing_rows`."""
    for row in rows:
        (folder / row.case).unlink(missing_ok=True)


def keep_existing_rows(folder: Path, cases: Path) -> int:
    """Remove the rows of an index whose cases do not exist, and return the number of remaining rows.

    Raises
    ------
    FileError
        If the index cannot be written.
    """
    rows = read_index(folder)
    existing = [row for row in rows if (cases / row.case).exists()]
    if len(existing) < len(rows):
        write_index(folder, existing)
    return len(existing)


def append_rows(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Append rows to the index."""
    append_csv(folder / INDEX, NAMES, map(astuple, rows))


def write_index(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Write the complete index atomically, sorted by case."""
    write_csv(folder / INDEX, NAMES, map(astuple, sorted(rows, key=lambda row: row.case)))


def list_cases(folder: Path, split: str | None = None) -> list[Path]:
    """The prepared cases of a folder, of one split or of all splits, sorted by name.

    Raises
    ------
    FileError
        If there is no index, or the split has no cases.
    """
    if not holds_cases(folder):
        raise FileError(
            f"no prepared cases here: there is no {INDEX}",
            where=str(folder),
            hint=f"cinerecon prepare SCANS -o {folder}",
        )
    paths = [folder / row.case for row in read_index(folder) if split in (None, row.split)]
    if not paths:
        of_split = f" of the split '{split}'" if split else ""
        others = " or ".join(sorted({str(folder / row.case.split("/")[0]) for row in read_index(folder)}))
        hint = f"prepare some with --split {split or 'test'}" + (f", or name another split: {others}" if others else "")
        raise FileError(f"the index contains no case{of_split}", where=str(folder / INDEX), hint=hint)
    return sorted(paths)
