"""The machine a workflow runs on: its device, and the memory this process takes."""

import ctypes
import resource
import sys

import torch

from cinerecon.errors import ConfigError


def pick_device(name: str = "auto") -> str:
    """Resolve ``auto`` to a GPU where there is one, and check any other name.

    Raises
    ------
    ConfigError
        If there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        available = "auto, cpu" + ", cuda" * torch.cuda.is_available()
        raise ConfigError(f"no device '{name}' here", where="--device", hint=f"available: {available}") from None
    return name


def peak_memory_mb(device: str = "cpu") -> float:
    """Most memory this process has held so far, on the GPU if it runs there [MB]."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def keep_large_blocks() -> None:
    """Let this process keep the memory of freed arrays for the next ones, where the C library is glibc.

    Else the kernel takes back and clears anew all that is larger than 32 MB, at each allocation: a sixth of the time of
    SLR-Net, half that of T2LR-Net with eight coils. Peak memory may grow by a fifth.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is not None and hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
