"""Paths given by callers, and paths in records, which are relative to the folder of the record.

Except for `located`, no function follows links or requires that a file exists.
"""

import os
from collections.abc import Iterable
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
