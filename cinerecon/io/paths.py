"""Paths given by callers, paths in records, which are relative to the folder of the record, and the search of folders.

Except for `located` and `walk_visible`, no function follows links or requires that a file exists.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cinerecon.errors import ConfigError

AnyPath = str | os.PathLike[str]
"""Types that callers may use for paths."""


def as_path(path: AnyPath, name: str = "path") -> Path:
    """Convert the argument of a caller to a path; ``name`` is that of the argument.

    Raises
    ------
    ConfigError
        If it is not a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"expected a path, found {type(path).__name__}", where=name)
    return Path(path)


def absolute(path: Path | str) -> Path:
    """The absolute path without ``..``."""
    return Path(os.path.abspath(path))  # noqa: PTH100, as `resolve` follows links


def absolute_paths(paths: Iterable[Path | str]) -> set[Path]:
    """The absolute paths without ``..``."""
    return set(map(absolute, paths))


def relative(path: Path | str, folder: Path) -> str:
    """The path relative to a folder, for its records; absolute if it is on another drive."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(absolute(path))


def located(path: str, folder: Path) -> Path:
    """The file for a path in the record of a folder.

    In older records, paths were relative to the working directory; such a path is used if only that file exists.
    """
    named = Path(os.path.normpath(folder / path))
    return Path(path) if not named.exists() and Path(path).exists() else named


def walk_visible(root: Path, without: Path | None = None) -> Iterator[tuple[Path, list[Path]]]:
    """A folder and its subfolders, each with its files, in alphabetical order.

    Hidden files, pipes, unreadable folders and the folder ``without`` are skipped. Links to folders are followed unless
    the folder is, contains, or is part of one that is searched anyway.
    """
    excluded = without and without.resolve()
    searched = [root.resolve()]
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        yield folder, [folder / entry.name for entry in visible if _is_file_or_missing(entry)]
        below = list[Path]()
        for entry in filter(_is_folder, visible):
            path = folder / entry.name
            if (
                excluded is not None
                and (entry.is_symlink() or path.name == excluded.name)
                and path.resolve() == excluded
            ):
                continue
            if entry.is_symlink():
                target = path.resolve()
                if any(target.is_relative_to(other) or other.is_relative_to(target) for other in searched):
                    continue
                searched.append(target)
            below.append(path)
        waiting += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a cyclic link
        return False


def _is_file_or_missing(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a link to a missing file, rather than a folder, a pipe or a cyclic link."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry).exists())
    except OSError:
        return False
