"""The allocator of the C library: memory of freed arrays is kept for the next ones, or returned.

These are settings of the whole process. They belong to a command, and to the processes that it starts; no library
function calls them.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # names of mallopt(3)
_DOCUMENTED_LIMIT = 2**25
_SMALL = 2**20


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the C library is glibc.

    Otherwise the kernel takes large arrays back and clears the memory again at each allocation: a fifth of the time of
    k-t SLR with one coil and a third with eight, a sixth of that of SLR-Net, half that of T2LR-Net with eight coils.
    Peak memory may grow by a fifth.
    """
    libc = _c_library()
    if libc is None or not hasattr(libc, "mallopt"):
        return
    # versions that hold to the limit they document refuse more
    if libc.mallopt(_MMAP_THRESHOLD, 2**30) or libc.mallopt(_MMAP_THRESHOLD, _DOCUMENTED_LIMIT):
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def share_freed_memory() -> None:
    """Let all threads of this process, which must not have begun yet, take arrays from the same memory.

    Otherwise each thread keeps what it has freed, and the memory of a server grows with the number of its connections.
    """
    libc = _c_library()
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)


def release_freed_memory() -> None:
    """Return what is kept now, and from now on arrays above 1 MB as soon as they are freed: the opposite setting."""
    libc = _c_library()
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _SMALL)
        libc.mallopt(_TRIM_THRESHOLD, _SMALL)
    return_freed_memory()


def return_freed_memory() -> None:
    """Return what the allocator keeps of freed memory now; the settings stay as they are."""
    libc = _c_library()
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _c_library() -> ctypes.CDLL | None:
    """The C library of Linux; functions that glibc alone has are looked up in it."""
    return ctypes.CDLL(None) if sys.platform.startswith("linux") else None
