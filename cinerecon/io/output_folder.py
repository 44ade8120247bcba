"""Output folders: each holds results of one kind, and only one process may write to it at a time.

Files of several kinds in one folder would be read together, e.g. the images of an evaluation as training data. Images
and scores may share a folder, since neither is searched for data.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.io.atomic import remove_empty, require_folder

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the locked file; the lock of a killed process is released by the operating system."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Context manager that only one process at a time can enter for a folder, which is created if it is missing.

    The operating system releases the lock when the process ends. On file systems without locks, it has no effect.
    Folders that were created for the lock and are empty at the end are removed.

    Raises
    ------
    FileError
        If another process is working on the folder, or it cannot be created.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    require_folder(folder)
    path = folder / LOCK
    try:
        descriptor = _locked(path)
    except FileError:
        remove_empty(created)
        raise
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):  # the folder may have been moved
                path.unlink(missing_ok=True)  # before the lock is released: another process might lock the removed file
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # forked processes may have copies of the descriptor
            os.close(descriptor)
        remove_empty(created)


def _locked(path: Path) -> int | None:
    """Lock a file and return its descriptor; None if the file system has no locks."""
    if fcntl is None:
        return None
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileError(f"cannot write: {error.strerror or error}", where=str(path)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            hint = "wait until it has finished, or choose another folder"
            raise FileError("another process is writing to this folder", where=str(path.parent), hint=hint) from None
        except OSError:
            os.close(descriptor)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # the previous owner has just removed the file


class FolderKind(Enum):
    """The contents of an output folder, with the files by which they are recognised."""

    CASES = "prepared cases", ("index.csv", "settings.yaml")
    MODEL = "a model or a training run", ("model.yaml", "run.json")
    SCORES = "results of evaluate", ("scores.csv", "scans.jsonl")
    IMAGES = "images of recon", ("recon.jsonl",)

    def found_in(self, folder: Path) -> str:
        """The first of the files in a folder; empty if there is none."""
        return next((name for name in self.value[1] if (folder / name).is_file()), "")


SHARED = {FolderKind.SCORES, FolderKind.IMAGES}


def require_folder_of(kind: FolderKind, folder: Path) -> None:
    """Check that a folder, which need not exist, does not contain results of another kind alone.

    Raises
    ------
    FileError
        If it does.
    """
    if kind.found_in(folder):
        return
    for other in FolderKind:
        name = other.found_in(folder)
        if name and not {kind, other} <= SHARED:
            what = f"the folder contains {other.value[0]} ({name}), with which other files should not be mixed"
            raise FileError(what, where=str(folder), hint="choose another folder with -o")
