"""The allocator of the C library: memory of freed arrays is kept for the next ones, or given back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_DOCUMENTED_LIMIT = 2**25


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the C library is glibc.

    Else the kernel takes back and clears anew what is large, at each allocation: a fifth of the time of k-t SLR with
    one coil and a third with eight, a sixth of that of SLR-Net, half that of T2LR-Net with eight coils. Peak memory may
    grow by a fifth.
    """
    libc = _c_library()
    if libc is None or not hasattr(libc, "mallopt"):
        return
    # versions that hold to the limit they document refuse more
    if libc.mallopt(_MMAP_THRESHOLD, 2**30) or libc.mallopt(_MMAP_THRESHOLD, _DOCUMENTED_LIMIT):
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Give back what the allocator keeps of freed memory, so that its use anew is seen."""
    libc = _c_library()
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _c_library() -> ctypes.CDLL | None:
    """That of Linux; of which settings are asked that glibc alone has."""
    return ctypes.CDLL(None) if sys.platform.startswith("linux") else None
