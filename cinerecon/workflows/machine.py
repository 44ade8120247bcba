"""The machine a workflow runs on: its device, and the memory this process takes."""

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from cinerecon.errors import ConfigError
from cinerecon.memory import return_freed_memory


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


@dataclass
class Usage:
    """What a piece of work took: wall time [s], and memory beyond what was held before [MB], NaN if nobody tells."""

    seconds: float = math.nan
    memory_mb: float = math.nan


@contextmanager
def measured(device: str = "cpu") -> Iterator[Usage]:
    """Lend a record that holds, at the end, what the work inside took on a device.

    Memory in use at the start counts as none; on a CPU it is that of the process, which Linux alone tells.
    """
    usage, is_cuda = Usage(), device.startswith("cuda")
    if is_cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device) / 2**20
    else:
        return_freed_memory()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far, see proc(5)
        held = process_memory_mb()
    start = time.perf_counter()
    yield usage
    if is_cuda:
        torch.cuda.synchronize(device)
    usage.seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if is_cuda else process_memory_mb("VmHWM")
    usage.memory_mb = max(0.0, peak - held)


def free_memory_mb() -> float:
    """Memory that new processes can take without swapping [MB]; infinite if nobody tells."""
    return _read_kilobytes(Path("/proc/meminfo"), "MemAvailable", math.inf)


def process_memory_mb(name: str = "VmRSS") -> float:
    """Memory that this process holds now, or its peak since it was last forgotten, ``VmHWM`` [MB]; NaN if unknown."""
    return _read_kilobytes(Path("/proc/self/status"), name, math.nan)


def _read_kilobytes(path: Path, name: str, otherwise: float) -> float:
    """A line ``name:  1234 kB`` of the kernel's, in MB."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 2**10
    return otherwise
