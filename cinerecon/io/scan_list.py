"""Lists of scans: text files with one path per line, given as ``@list.txt`` in place of scans; and unique names of
scans.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cinerecon.errors import FileError

SIGN = "@"
COMMENT = "#"


def is_list(path: Path) -> bool:
    """Whether an argument is a list of scans; a file whose own name begins with @ is given as ``./@name``."""
    return str(path).startswith(SIGN)


def list_of(path: Path) -> Path:
    """The file of the list that an argument such as ``@list.txt`` gives."""
    return Path(str(path).removeprefix(SIGN))


def with_lists(paths: Iterable[Path], lists: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The paths with each ``@list.txt`` replaced by the paths in it, followed by those in other lists.

    Raises
    ------
    FileError
        If a list cannot be read.
    """
    every: list[Path] = []
    for path in paths:
        every += read_scan_list(list_of(path)) if is_list(path) else [path]
    for path in lists:
        every += read_scan_list(path)
    return tuple(every)


def read_scan_list(path: Path) -> list[Path]:
    """The paths in a list, each once; relative paths begin at the folder of the list.

    Empty lines, and lines that begin with ``#``, are ignored. The scans themselves are not opened.

    Raises
    ------
    FileError
        If the list is missing, is no text, or names no scan.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        hint = "give a scan without @; a list is a text file (UTF-8) with one path per line"
        raise FileError("this is no list of scans", where=str(path), hint=hint) from None
    except OSError as error:
        what = "there is no such list" if isinstance(error, FileNotFoundError) else f"cannot read: {error.strerror}"
        raise FileError(what, where=str(path), hint="find archive -name '*.h5' > list.txt") from None
    names = (line.strip() for line in text.splitlines())
    scans = dict.fromkeys(path.parent / name for name in names if name and not name.startswith(COMMENT))
    if any("\0" in str(scan) for scan in scans):
        raise FileError("this is no list of scans", where=str(path), hint="a list is a text file, one path per line")
    if not scans:
        raise FileError("the list names no scan", where=str(path), hint="one path per line")
    return list(scans)


def labels_of(paths: Iterable[Path]) -> dict[Path, str]:
    """The stem of each file; where several share it, with as many of their folders as it takes: ``P001/cine_sax``."""
    paths = list(dict.fromkeys(paths))
    in_folder = Counter((path.parent, path.stem) for path in paths)
    parts = {}
    for path in paths:
        own = path.stem if in_folder[path.parent, path.stem] == 1 else path.name
        parts[path] = (*(part for part in path.parent.parts if part != path.anchor), own)
    taken = dict.fromkeys(paths, 1)
    while True:
        labels = {path: "/".join(parts[path][-n:]) for path, n in taken.items()}
        count = Counter(labels.values())
        longer = [path for path in paths if count[labels[path]] > 1 and taken[path] < len(parts[path])]
        if not longer:
            return labels
        for path in longer:
            taken[path] += 1
