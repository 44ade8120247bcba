"""Limits of memory, the recognition of out-of-memory errors, the allocator of the C library, and pages of mapped files.

The allocator keeps the memory of freed arrays for the next ones, or returns it. These are settings of the whole
process. They belong to a command, and to the processes that it starts; no library function calls them.
"""

import ctypes
import errno
import mmap
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cinerecon.errors import ConfigError, DataError

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # names of mallopt(3)
_DOCUMENTED_LIMIT = 2**25
_SMALL = 2**20
UNITS = ("", "K", "M", "G", "T", "P", "E")
"""Letters of units; the index is the power of 1000, or of 1024 with an i (GiB)."""
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|CUDA out of memory|Unable to allocate", re.I)
"""Texts of the errors of allocators that have no separate exception class."""
REQUESTED = re.compile(r"tried to allocate ([\d.]+) ?(\w*)|allocate ([\d.]+) (\w+)", re.I)


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the C library is glibc.

    Otherwise the kernel takes large arrays back and clears the memory again at each allocation: a fifth of the time of
    k-t SLR with one coil and a third with eight, a sixth of that of SLR-Net, half that of T2LR-Net with eight coils.
    Peak memory may grow by a fifth.
    """
    # versions that enforce the documented limit refuse larger values
    if _set_allocator(_MMAP_THRESHOLD, 2**30) or _set_allocator(_MMAP_THRESHOLD, _DOCUMENTED_LIMIT):
        _set_allocator(_TRIM_THRESHOLD, 2**31 - 1)


def share_freed_memory() -> None:
    """Let all threads, which must not have started yet, allocate arrays from the same memory.

    Otherwise each thread keeps what it has freed, and the memory of a server grows with the number of its connections.
    """
    _set_allocator(_ARENA_MAX, 1)


def release_freed_memory() -> None:
    """Return freed memory now and, from now on, that of arrays above 1 MB as soon as they are freed."""
    _set_allocator(_MMAP_THRESHOLD, _SMALL)
    _set_allocator(_TRIM_THRESHOLD, _SMALL)
    return_freed_memory()


def return_freed_memory() -> None:
    """Return the freed memory that the allocator keeps; its settings do not change."""
    libc = _c_library()
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def release_pages(values: object) -> None:
    """Release the pages of a mapped file that were read so far; they are read again if they are needed."""
    mapped = getattr(values, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _set_allocator(parameter: int, value: int) -> bool:
    """Set a parameter of the allocator, and return whether the allocator supports it and accepts the value."""
    libc = _c_library()
    return libc is not None and hasattr(libc, "mallopt") and bool(libc.mallopt(parameter, value))


def _c_library() -> ctypes.CDLL | None:
    """The C library of Linux, in which functions specific to glibc are looked up."""
    return ctypes.CDLL(None) if sys.platform.startswith("linux") else None


@dataclass(frozen=True)
class Workspace:
    """Limits of the temporary arrays of a computation. The result does not depend on them.

    Attributes
    ----------
    coils_at_once
        Number of coils whose images are transformed together; None leaves it to the method.
    frames_at_once
        Number of frames reconstructed together by methods that treat each frame by itself; None leaves it to the
        method.
    """

    coils_at_once: int | None = None
    frames_at_once: int | None = None


_workspace: ContextVar[Workspace] = ContextVar("workspace", default=Workspace())  # noqa: B039


def workspace() -> Workspace:
    """The limits that apply in the current context."""
    return _workspace.get()


@contextmanager
def limited_to(limits: Workspace) -> Iterator[None]:
    """Context manager that limits temporary arrays; other threads are not affected."""
    token = _workspace.set(limits)
    try:
        yield
    finally:
        _workspace.reset(token)


def parse_size(text: str) -> int:
    """Read a size such as ``4GB``, ``3.5 GiB`` or ``800MB`` [bytes].

    Raises
    ------
    ConfigError
        If it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.I)
    size = 0 if match is None else round(float(match[1]) * _factor(match[2], is_binary=bool(match[3])))
    if size <= 0:
        raise ConfigError(f"'{text}' is not a size of memory", where="--memory", hint="e.g. --memory 4GB")
    return size


def show_size(n_bytes: float) -> str:
    """A size with at least two digits, rounded up: ``3.7 GB``, ``850 MB``."""
    unit, name = (1e9, "GB") if n_bytes >= 0.9995e9 else (1e6, "MB")
    value = n_bytes / unit
    digits = 1 if name == "GB" and value < 100 else 0
    scale: int = 10**digits
    return f"{-(-value * scale // 1) / scale:.{digits}f} {name}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be allocated: by Python, NumPy, the system (maps of files), or torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None


def requested_size(error: BaseException) -> int | None:
    """The size of the array that could not be allocated [bytes]; None if the error does not contain it."""
    match = REQUESTED.search(str(error))
    if match is None:
        return None
    number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
    letter = unit[:1].upper() if unit[:1].upper() in UNITS else ""
    return round(float(number) * _factor(letter, is_binary=True)) if letter else round(float(number))


def describe_out_of_memory(error: BaseException) -> str:
    """Description of an out-of-memory error, with the size of the array if the error contains it."""
    asked = requested_size(error)
    return "out of memory" if asked is None else f"out of memory: {show_size(asked)} more could not be allocated"


@contextmanager
def report_out_of_memory(where: str, hint: str) -> Iterator[None]:
    """Context manager that raises exhausted memory as an input error, which ends one slice and not the others.

    Raises
    ------
    DataError
        If memory could not be allocated.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise DataError(describe_out_of_memory(error), where=where, hint=hint) from error


def _factor(letter: str, *, is_binary: bool) -> int:
    power = UNITS.index(letter.upper())
    return int((1024 if is_binary else 1000) ** power)
