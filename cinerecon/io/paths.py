"""Paths from callers, and paths in records, relative to the folder of the record, not to the working folder.

No function follows links or requires that a file exists, except `located`.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from cinerecon.errors import ConfigError

AnyPath = str | os.PathLike[str]
"""A path as a caller may give it."""


def as_path(path: AnyPath, name: str = "path") -> Path:
    """A path from a caller.

    Raises
    ------
    ConfigError
        If it is of another type.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"expected a path, found {type(path).__name__}", where=name)
    return Path(path)


def absolute(path: Path | str) -> Path:
    """The path from the root, without ``..``."""
    return Path(os.path.abspath(path))  # noqa: PTH100, as `resolve` follows links


def absolute_paths(paths: Iterable[Path | str]) -> set[Path]:
    """Each path from the root, without ``..``."""
    return set(map(absolute, paths))


def relative(path: Path | str, folder: Path) -> str:
    """The path as it is in the record of a folder; absolute if it is on another drive."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return str(absolute(path))


def located(path: str, folder: Path) -> Path:
    """The file that a path in the record of a folder names.

    In former records, paths were relative to the working folder; where only such a file exists, it is returned.
    """
    named = Path(os.path.normpath(folder / path))
    return Path(path) if not named.exists() and Path(path).exists() else named
