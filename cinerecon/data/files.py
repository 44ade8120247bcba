"""Files that are either whole or not there: written under a temporary name, then moved into place."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cinerecon.errors import FileError


def refuse_existing(path: Path, *, force: bool = False) -> None:
    """Make sure that a file may be written here, before any work is done for it.

    Raises
    ------
    FileError
        If it exists already and ``force`` is not set, or its folder cannot be written.
    """
    if path.exists() and not force:
        raise FileError(f"{path.name} exists already", where=str(path), hint="--force overwrites it")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise FileError(f"cannot write to {folder}", where=str(path), hint="choose another place with -o")


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside ``path``; move what was written there into place, or remove it after an error.

    Raises
    ------
    FileError
        If the file system refuses, e.g. because the disk is full.
    """
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise FileError(f"cannot write: {error.strerror or error}", where=str(path)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
