"""Worker processes: batches are drawn ahead of time, and simulated data are cached before the first step."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from cinerecon.errors import CineReconError

T = TypeVar("T")


class Cacheable(Protocol):
    """Data that are simulated once and then read from a file."""

    def ensure_cached(self) -> None:
        """Simulate the data and write the file, unless it exists."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as worker processes do: the order of summation depends on the number of threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def load_batches(batches: Dataset[T], numbers: Sequence[int], n_workers: int = 0) -> Iterator[T]:
    """Draw batches in order, ahead of time if there are worker processes.

    Parameters
    ----------
    batches
        Batches by number.
    numbers
        Numbers of the batches to be drawn.
    n_workers
        Number of worker processes; 0 draws in this process.

    Raises
    ------
    CineReconError
        If drawing a batch fails in any process.
    """
    for result in _load(batches, numbers, n_workers):
        if isinstance(result, CineReconError):
            raise result
        yield result


def fill_cache(
    items: Sequence[Cacheable],
    n_workers: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    deadline: float = math.inf,
) -> None:
    """Simulate and cache items, in parallel if there are worker processes.

    Parameters
    ----------
    items
        Items that are not in the cache yet.
    n_workers
        Number of worker processes; 0 simulates in this process.
    progress
        Called with the fraction of the items that are cached.
    deadline
        Time by `time.monotonic` after which no further items are simulated [s].

    Raises
    ------
    CineReconError
        If simulating an item fails in any process.
    """
    for number, _ in enumerate(load_batches(_Simulation(items), range(len(items)), min(n_workers, len(items))), 1):
        progress(number / len(items))
        if time.monotonic() > deadline:
            return


@dataclass(frozen=True, eq=False)
class _Simulation(Dataset[None]):
    """A data set whose items are simulated and cached on access."""

    items: Sequence[Cacheable]

    def __getitem__(self, number: int) -> None:
        with one_thread():
            self.items[number].ensure_cached()


@dataclass(frozen=True, eq=False)
class _ErrorsReturned(Dataset[T | CineReconError], Generic[T]):
    """A data set that returns errors; if raised in a worker process, only their text would be passed on."""

    data: Dataset[T]

    def __getitem__(self, number: int) -> T | CineReconError:
        try:
            return self.data[number]
        except CineReconError as error:
            return error


def _load(data: Dataset[T], numbers: Sequence[int], n_workers: int) -> Iterator[T | CineReconError]:
    loader: Any = DataLoader(
        _ErrorsReturned(data),
        batch_size=None,
        sampler=numbers,
        num_workers=n_workers,
        worker_init_fn=_ignore_interruption,
    )
    yield from loader


def _ignore_interruption(_: int) -> None:
    """Ignore Ctrl-C, which the main process handles by ending its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
