"""Checksums of files, and size and modification time to detect changes."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.io.untrusted import refuse_pipe


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits.

    Raises
    ------
    FileError
        If it is a pipe or a device.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_unchanged(path: Path) -> str:
    """`hash_file`, cached as long as size and modification time of the file do not change."""
    return _hash_of_state(path, *(file_state(path) or ()))


@lru_cache(maxsize=64)
def _hash_of_state(path: Path, *_: int) -> str:
    return hash_file(path)


def file_state(path: Path) -> list[int] | None:
    """Size and modification time of a file, to detect changes; None if it is missing."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def state_of(paths: Iterable[Path]) -> str:
    """Hash of the sizes and modification times of files, to detect changes of any of them."""
    return hashlib.sha256(repr([file_state(path) for path in paths]).encode()).hexdigest()[:16]


def require_unchanged(paths: Sequence[Path], state: str) -> None:
    """Check that files have not been changed since their state was computed by `state_of`.

    Raises
    ------
    FileError
        If one of them has changed.
    """
    if state_of(paths) != state:
        hint = "repeat the command when the file is complete"
        raise FileError(f"{paths[0].name} was changed while it was read", where=str(paths[0]), hint=hint)


def hash_files(paths: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the hashes of several files, in hexadecimal digits."""
    hashes = [hash_unchanged(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
