"""Lists of scans, text files with one path per line that are given as ``@list.txt``; and unique names of scans."""

import codecs
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.io.atomic import is_same_file

SIGN = "@"
COMMENT = "#"
LONGEST_START = 1 << 16
"""Bytes that are read to check that a file is a text."""
CONTROL = re.compile(b"[\0-\x08\x0e-\x1f]")
"""Characters that occur in binary files and UTF-16 texts, but not in lists of paths."""


def is_list(path: Path) -> bool:
    """Whether an argument is a list of scans; a file whose name begins with @ is given as ``./@name``."""
    return str(path).startswith(SIGN)


def list_of(path: Path) -> Path:
    """The file of the list that an argument such as ``@list.txt`` names."""
    return Path(str(path).removeprefix(SIGN))


def with_lists(paths: Iterable[Path], lists: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The paths with each ``@list.txt`` replaced by the paths in it, followed by those in other lists.

    Raises
    ------
    FileError
        If a list cannot be read.
    """
    scans: list[Path] = []
    for path in paths:
        scans += read_scan_list(list_of(path)) if is_list(path) else [path]
    for path in lists:
        scans += read_scan_list(path)
    return tuple(map(tidy, scans))


def tidy(path: Path) -> Path:
    """The path without ``..`` after a folder, so that each file has one name; unchanged if that folder is a link."""
    if ".." not in path.parts:
        return path
    short = Path(os.path.normpath(path))
    return short if is_same_file(short, path) else path


def read_scan_list(path: Path) -> list[Path]:
    """The paths in a list, each once; relative paths are relative to the folder of the list.

    Empty lines, and lines that begin with ``#``, are ignored. The scans themselves are not opened. Names need not be
    UTF-8, as file systems do not require it.

    Raises
    ------
    FileError
        If the list is missing, is not a text, or names no scan.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LONGEST_START)  # a large scan that was given as a list is not read whole
            content = start if CONTROL.search(start) else start + file.read()
    except OSError as error:
        what = "there is no such list" if isinstance(error, FileNotFoundError) else f"cannot read: {error.strerror}"
        raise FileError(what, where=str(path), hint="find archive -name '*.h5' > list.txt") from None
    if CONTROL.search(content):
        hint = "give a scan without @; a list is a text file (UTF-8) with one path per line"
        raise FileError("this is not a list of scans", where=str(path), hint=hint)
    text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))
    names = (line.strip() for line in re.split("[\r\n]+", text))
    scans = dict.fromkeys(tidy(path.parent / name) for name in names if name and not name.startswith(COMMENT))
    if not scans:
        raise FileError("the list contains no scan", where=str(path), hint="one path per line")
    return list(scans)


def labels_of(paths: Iterable[Path]) -> dict[Path, str]:
    """The stem of each file, preceded by as many folders as needed to be unique: ``P001/cine_sax``.

    Names that differ in upper and lower case alone are not unique, as they are one file on some file systems.
    """
    paths = list(dict.fromkeys(paths))
    folders = {path: path_parts(path)[:-1] for path in paths}
    names = {path: path.stem for path in paths}
    for longer in (lambda path: path.name, lambda path: f"{path.name}-{path_checksum(path.name)}"):
        in_folder = Counter((folders[path], name.casefold()) for path, name in names.items())
        names = {
            path: name if in_folder[folders[path], name.casefold()] == 1 else longer(path)
            for path, name in names.items()
        }
    n_folders = dict.fromkeys(paths, 0)
    while True:
        labels = {
            path: "/".join((*folders[path][len(folders[path]) - n :], names[path])) for path, n in n_folders.items()
        }
        count = Counter(label.casefold() for label in labels.values())
        longer_ones = [p for p in paths if count[labels[p].casefold()] > 1 and n_folders[p] < len(folders[p])]
        if not longer_ones:
            return labels
        for path in longer_ones:
            n_folders[path] += 1


def path_parts(path: Path) -> tuple[str, ...]:
    """The folders from the root and the name of a file; without ``..``, which would lead out of an output folder."""
    path = path.absolute()
    folder = path.parent.resolve() if ".." in path.parts else path.parent
    return (*(part for part in folder.parts if part != folder.anchor), path.name)


def path_checksum(path: Path | str) -> str:
    """Eight digits that distinguish names where nothing else does."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
