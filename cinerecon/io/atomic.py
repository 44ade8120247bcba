"""Atomic writing: files have a temporary name until they are complete, and are then renamed."""

import errno
import glob
import hashlib
import io
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from cinerecon.errors import FileError, StorageError

LONGEST_NAME = 255
"""Largest length of a file name in common file systems [bytes]."""
STALE_S = 3600
"""Time since the last change after which a temporary file is considered abandoned [s]."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FAULTY = {errno.EIO, errno.EROFS}
"""Error numbers of file systems that would also refuse any other file."""
_PARTIAL = re.compile(r"\.partial-(\d+)-(?:([0-9a-f]{8})-)?")


@cache
def machine_code() -> str:
    """A code of this machine or container, which distinguishes processes of equal number on a shared file system."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def refuse_existing(path: Path, *, force: bool = False) -> None:
    """Check in advance that a file can be written.

    Raises
    ------
    FileError
        If it exists and ``force`` is not set, its name is too long, its folder is not writable, or a folder in its path
        is a broken link.
    """
    length = len(os.fsencode(path.name))
    if length > LONGEST_NAME:
        what = f"the name {path.name[:20]}... is too long: {length} bytes, at most {LONGEST_NAME}"
        raise FileError(what, where=str(path.absolute().parent), hint="choose another name with -o")
    if os.path.lexists(path) and not force:
        raise FileError(f"{path.name} already exists", where=str(path), hint="--force overwrites it")
    folder = path.absolute().parent
    while not folder.exists():
        if folder.is_symlink():
            what = f"{folder} is a link to {folder.readlink()}, which does not exist"
            raise FileError(what, where=str(path), hint="create that folder, or choose another one with -o")
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise FileError(f"cannot write to {folder}", where=str(path), hint="choose another folder with -o")


def would_overwrite(source: Path, target: Path) -> FileError:
    """The error if a command would overwrite its input, which is not possible even with ``--force``."""
    what = f"{source.name} is an input file and would be overwritten"
    return FileError(what, where=str(target), hint="choose another name with -o")


def is_same_file(first: Path, second: Path) -> bool:
    """Whether two paths are the same file, which need not exist."""
    try:
        return first.samefile(second)
    except OSError:
        return os.path.realpath(first) == os.path.realpath(second)


@contextmanager
def moved_into_place(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Provide a temporary path next to ``path``; the file is renamed at the end, or removed after an error.

    Parameters
    ----------
    path
        The file to write.
    overwrite
        Replace an existing file, e.g. one that another program has written in the meantime.

    Raises
    ------
    StorageError
        If the disk is full, read-only or faulty.
    FileError
        If the file cannot be written for another reason, or exists and ``overwrite`` is not set.
    """
    with _temporary_path(path.parent, path) as temporary:
        yield temporary
        _flush(temporary)
        if overwrite:
            temporary.replace(path)
        else:
            _move_without_overwriting(temporary, path)


def _flush(path: Path) -> None:
    """Flush the file to the disk before it is renamed, so that a system crash does not result in an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_without_overwriting(temporary: Path, path: Path) -> None:
    """Move a file in an atomic step that fails if the target exists, which a plain rename would replace."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise written_meanwhile(path) from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise written_meanwhile(path) from None
        temporary.rename(path)


def written_meanwhile(path: Path) -> FileError:
    """The error if another program has created a file in the meantime."""
    what = f"{path.name} was written by another program in the meantime and is not changed"
    return FileError(what, where=str(path), hint="choose another name with -o, or --force to overwrite it")


@contextmanager
def series_moved_into_place(folder: Path, pattern: str, *, overwrite: bool = True) -> Iterator[Path]:
    """Provide a temporary folder, whose files replace all files in ``folder`` that match the pattern.

    After an error, no file is replaced. Other files in the folder are not changed. Since files are moved only within
    the folder, it may be a mount point.

    Raises
    ------
    FileError
        If the files cannot be written, or files that match the pattern exist and ``overwrite`` is not set.
    """
    parent = folder if folder.is_dir() else folder.parent
    for partial in parent.glob(f".partial-*-{glob.escape(folder.name)}") if parent.is_dir() else ():
        if _is_stale(partial):
            _remove(partial)
    with _temporary_path(parent, folder) as temporary:
        new, old = temporary / "new", temporary / "old"
        for part in (new, old):
            part.mkdir(parents=True)
        yield new
        if not overwrite and any(folder.glob(pattern)):
            raise written_meanwhile(folder)
        if not folder.is_dir():
            new.replace(folder)
            return
        moves = [(path, old / path.name) for path in folder.glob(pattern)]
        moves += [(path, folder / path.name) for path in new.iterdir()]
        try:
            for source, target in moves:
                source.replace(target)
        except BaseException:  # including interruptions: a mixture of two reconstructions would look like one series
            for source, target in reversed(moves):
                if not source.exists():
                    target.replace(source)
            raise


@contextmanager
def _temporary_path(parent: Path, path: Path) -> Iterator[Path]:
    """Provide a temporary path in the folder ``parent``, which is removed at the end."""
    temporary = parent / temporary_name(path.name)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)  # left by a killed process with the same number
        yield temporary
    except OSError as error:
        raise refused_write(error, path) from error
    finally:
        _remove(temporary)


def refused_write(error: OSError, path: Path) -> FileError:
    """The error if a file cannot be written."""
    kind = StorageError if error.errno in FULL | FAULTY else FileError
    hint = "free space, or write to another disk with -o" if error.errno in FULL else ""
    return kind(f"cannot write: {error.strerror or error}", where=str(path), hint=hint)


def temporary_name(name: str) -> str:
    """A name that is unique for this process and machine, and not longer than file systems allow."""
    prefix = f".partial-{os.getpid()}-{machine_code()}-"
    if len(os.fsencode(prefix + name)) <= LONGEST_NAME:
        return prefix + name
    return prefix + hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + "".join(Path(name).suffixes)[-16:]


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically, and return its path.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    with moved_into_place(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def append_text(path: Path, text: str) -> None:
    """Append lines to a file, and flush it to the disk; a missing folder is created.

    The text begins on a new line, even if the last line is incomplete because of an interruption. If the disk is full,
    the file is not changed.

    Raises
    ------
    StorageError
        If the disk is full, read-only or faulty.
    FileError
        If the file cannot be written for another reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            start = b"\n" if _is_line_open(file) else b""
            try:
                write_whole(file, start + text.encode(errors="backslashreplace"))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        raise refused_write(error, path) from None


def write_whole(file: BinaryIO | io.FileIO, content: bytes | memoryview) -> None:
    """Write all bytes without a buffer; when the disk becomes full, a write is incomplete, and only the next one fails.

    Raises
    ------
    OSError
        If the bytes cannot be written.
    """
    rest = memoryview(content)
    while rest:
        n_bytes = file.write(rest)
        if not n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[n_bytes:]


def is_cut_short(path: Path) -> bool:
    """Whether the last line of a file is incomplete, i.e. has no line break, as after an interruption."""
    with path.open("rb") as file:
        return _is_line_open(file)


def _is_line_open(file: BinaryIO | io.FileIO) -> bool:
    """Whether the last byte of a file is not a line break."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def require_folder(folder: Path) -> None:
    """Check in advance that files can be written to a folder, which is created if it is missing.

    Raises
    ------
    FileError
        If it is a file, cannot be created, or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        what = "this is a file or a broken link, but results need a folder"
        raise FileError(what, where=str(folder), hint="-o results/") from None
    except OSError as error:
        what = f"cannot create the folder: {error.strerror or error}"
        raise FileError(what, where=str(folder), hint="choose another folder with -o") from None
    if not os.access(folder, os.W_OK):
        raise FileError("cannot write to this folder", where=str(folder), hint="choose another folder with -o")


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove empty folders, in the given order, up to the first one that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def clear_partial(folder: Path, *, below: bool = True) -> None:
    """Remove temporary files of interrupted programs in a folder and, if requested, below it."""
    for path in list(folder.rglob(".partial-*") if below else folder.glob(".partial-*")):
        if _is_stale(path):
            _remove(path)


def _is_stale(path: Path) -> bool:
    """Whether the process that wrote a temporary file has ended, or has not changed the file for an hour.

    For files of other machines on the same file system, only the age is known.
    """
    match = _PARTIAL.match(path.name)
    is_own = match is not None and match[2] in (None, machine_code())
    try:
        if time.time() - path.stat().st_mtime > STALE_S:
            return True
        if match and is_own and os.name == "posix":  # on other systems, signal 0 terminates the process
            os.kill(int(match[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # the process belongs to another user, or the file has just been renamed
        pass
    return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(NotADirectoryError):  # its folder is a file
            path.unlink(missing_ok=True)
