"""The machine: its device, its cores and processes, and the memory of this process."""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.context import BaseContext
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch

from cinerecon.errors import ConfigError, DataError
from cinerecon.memory import keep_freed_memory, return_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")


def pick_device(name: str | torch.device = "auto") -> str:
    """Resolve ``auto`` to a GPU if there is one, and check any other name.

    Raises
    ------
    ConfigError
        If the device does not exist, or lacks double precision, which low-rank methods need.
    """
    name = str(name)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    hint = f"available: auto, cpu{', cuda' * torch.cuda.is_available()}"
    try:
        torch.empty(1, device=name).item()
    except (RuntimeError, AssertionError):
        raise ConfigError(f"no device '{name}' here", where="--device", hint=hint) from None
    try:
        torch.ones(1, dtype=torch.complex128, device=name).item()
    except (RuntimeError, TypeError):
        what = f"the device '{name}' has no double precision, which low-rank methods need"
        raise ConfigError(what, where="--device", hint=hint) from None
    return name


def peak_memory_mb(device: str = "cpu") -> float:
    """Peak memory of this process, on the GPU if it runs there [MB]; NaN if unknown.

    On Linux it is read from ``/proc``: the peak of `getrusage` includes that of the process that started this one.
    """
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    if not math.isnan(own := process_memory_mb("VmHWM")):
        return own
    try:
        import resource  # not on Windows
    except ImportError:
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@dataclass
class Usage:
    """Wall time [s] of a computation, and memory beyond that in use before [MB], NaN if unknown."""

    seconds: float = math.nan
    memory_mb: float = math.nan


@contextmanager
def measured(device: str = "cpu") -> Iterator[Usage]:
    """Context whose record contains, at the end, the time and memory of the code inside on a device.

    Memory in use at the start is not counted. On a CPU it is that of the process, available on Linux only.
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
    """Memory available to new processes without swapping [MB]; infinite if unknown."""
    return _read_kilobytes(Path("/proc/meminfo"), "MemAvailable", math.inf)


def process_memory_mb(name: str = "VmRSS") -> float:
    """Memory of this process [MB], or with ``VmHWM`` its peak since the last reset; NaN if unknown."""
    return _read_kilobytes(Path("/proc/self/status"), name, math.nan)


def _read_kilobytes(path: Path, name: str, otherwise: float) -> float:
    """The value of a line ``name:  1234 kB`` in a file of the kernel [MB]."""
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / 2**10
    return otherwise


def n_cores() -> int:
    """Number of cores that this process may use, which may be limited by a container or a batch system."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(function: Callable[[Task], Result], tasks: Iterable[Task], n_processes: int) -> Iterator[Result]:
    """Results in the order of completion, from processes that share the cores, or from this one if one suffices.

    After an error no further task is started. At an interruption, running tasks are completed and their results
    yielded before it is raised; a second interruption does not wait.

    Parameters
    ----------
    function
        Called with each task. It is sent to each process once, so that an object may keep state from task to task.
        Like tasks and results it must be picklable.
    tasks
        Tasks in the order in which they are started; each is taken from an iterator when a process is free.
    n_processes
        Number of simultaneous processes, the value of the option ``--workers``.

    Raises
    ------
    DataError
        If a process terminates unexpectedly.
    """
    ahead = iter(tasks)
    first = list(islice(ahead, max(1, n_processes)))
    if len(first) <= 1:
        yield from map(function, chain(first, ahead))
    else:
        yield from in_pool(function, chain(first, ahead), len(first))


def in_pool(function: Callable[[Task], Result], tasks: Iterator[Task], n_processes: int) -> Iterator[Result]:
    """As `in_processes`, always in other processes, each started for the first task that finds no free one.

    The iterator is asked for a task again after each result, even if it had none before: results may lead to tasks.
    """
    threads = max(1, n_cores() // n_processes)
    arguments = (threads, function, dict(os.environ))
    pool = ProcessPoolExecutor(n_processes, _process_context(), initializer=_begin_work, initargs=arguments)
    waiting = set[Future[Result]]()

    def start_tasks() -> None:
        """Give each free process one task, and none in advance: tasks that the pool has cannot be withdrawn."""
        waiting.update(pool.submit(_work, task) for task in islice(tasks, n_processes - len(waiting)))

    with deferred_interruption() as is_interrupted:
        try:
            start_tasks()
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    waiting.remove(future)
                    if not is_interrupted():
                        start_tasks()
                    yield result
                    if not is_interrupted():
                        start_tasks()
        except BrokenProcessPool:
            if is_interrupted():  # the processes were asked to end as well
                raise KeyboardInterrupt from None
            what = "a process was killed, most likely because it ran out of memory; finished results are kept"
            raise DataError(what, hint="run it again with --workers 1") from None
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _process_context() -> BaseContext:
    """How processes are started: on Linux, forked from a process that has imported PyTorch and has computed nothing."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def deferred_interruption() -> Iterator[Callable[[], bool]]:
    """Defer an interruption until the code inside has ended.

    It yields a function that returns whether Ctrl-C was pressed or the process was asked to end. A second interruption
    takes effect at once, the first one at the end, as `KeyboardInterrupt`. In threads other than the main one nothing
    is deferred.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


_function: Callable[[Any], Any]
"""Function that a process started by `in_processes` applies to each task."""


def _begin_work(threads: int, function: Callable[[Any], Any], environment: dict[str, str]) -> None:
    """Prepare a process, which uses its share of the cores and ignores interruptions: its parent handles them.

    Its environment may be that of an earlier time, when the process from which it is forked was started.
    """
    global _function
    _function = function
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()


def _work(task: Any) -> Any:
    """The result of a task in a process started by `in_processes`."""
    return _function(task)


def _end_with_parent() -> None:
    """End this process when its parent has been killed; otherwise it would wait for tasks forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
