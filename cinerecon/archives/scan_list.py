"""Lists of scans (text files with one path per line, given as ``@list.txt``), and unique names of scans."""

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
"""Number of bytes that are read to check that a file is text."""
CONTROL = re.compile(b"[\0-\x08\x0e-\x1f]")
"""Bytes that occur in binary files and UTF-16 text, but not in lists of paths."""


def is_list(path: Path) -> bool:
    """Whether an argument is a list of scans; a scan whose name begins with @ can be given as ``./@name``."""
    return str(path).startswith(SIGN)


def list_of(path: Path) -> Path:
    """The file for an argument such as ``@list.txt``."""
    return Path(str(path).removeprefix(SIGN))


def with_lists(paths: Iterable[Path], lists: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The paths, in which each ``@list.txt`` is replaced by the paths in it, followed by those of further lists.

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
    """The path without ``..``, so that each file has only one name; unchanged if this would be another file (links)."""
    if ".." not in path.parts:
        return path
    short = Path(os.path.normpath(path))
    return short if is_same_file(short, path) else path


def read_scan_list(path: Path) -> list[Path]:
    """Read the paths in a list, without duplicates; relative paths are relative to the folder of the list.

    Empty lines and lines that begin with ``#`` are ignored. The scans are not opened. As in file systems, names need
    not be valid UTF-8.

    Raises
    ------
    FileError
        If the list is missing, not a text file, or empty.
    """
    try:
        with path.open("rb") as file:
            start = file.read(LONGEST_START)  # so that a large scan given by mistake is not read
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
    """The stem of each file, preceded by as many folders as necessary to be unique: ``P001/cine_sax``.

    Names that differ only in upper and lower case are not considered unique, since on some file systems they are the
    same file. A checksum is added if the paths differ in nothing else.
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
    full_names = {path: "/".join((*folders[path], names[path])) for path in paths}
    n_equal = Counter(map(str.casefold, full_names.values()))
    n_folders = dict.fromkeys(paths, 0)
    for path, name in full_names.items():
        if n_equal[name.casefold()] > 1:
            names[path] += f"-{path_checksum(name)}"
            n_folders[path] = 1
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
    """The folders of an absolute path and the file name, without ``..``, which would lead out of an output folder."""
    path = path.absolute()
    folder = path.parent.resolve() if ".." in path.parts else path.parent
    return (*(part for part in folder.parts if part != folder.anchor), path.name)


def path_checksum(path: Path | str) -> str:
    """Eight hexadecimal digits of a hash of a path, to distinguish paths."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
