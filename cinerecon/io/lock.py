"""A folder that one process at a time writes its results to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.io.atomic import remove_empty, require_folder

try:
    import fcntl
except ImportError:  # Windows has no locks of this kind
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the file that is locked; a process that was killed no longer holds the lock."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Context that only one process at a time can enter for a folder; a missing folder is created.

    The operating system holds the lock, which ends with the process. On file systems without locks it has no effect.
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
                path.unlink(missing_ok=True)  # before the lock ends: another process would lock a file without a name
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # forked processes may hold the descriptor, too
            os.close(descriptor)
        remove_empty(created)


def _locked(path: Path) -> int | None:
    """The descriptor of the locked file; None where the file system has no locks."""
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
            what, hint = (
                "another process is writing to this folder",
                "wait until it has finished, or choose another folder",
            )
            raise FileError(what, where=str(path.parent), hint=hint) from None
        except OSError:
            os.close(descriptor)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # the previous owner has removed the file in the meantime
