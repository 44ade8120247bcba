"""What training draws from is simulated before the first step, by several processes, and kept."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch.utils.data import DataLoader, Dataset

from cinerecon.errors import CineReconError
from cinerecon.training.data.batch import one_thread


class Kept(Protocol):
    """Something that is simulated once and then read from a file."""

    def make_ready(self) -> None:
        """Simulate it, if that has not been done."""


def make_ready(
    items: Sequence[Kept],
    n_workers: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    deadline: float = math.inf,
) -> None:
    """Simulate what is missing, in worker processes if there are any.

    Parameters
    ----------
    items
        What to simulate.
    n_workers
        Processes; with 0 it is done in this one.
    progress
        Called with the part that is ready.
    deadline
        Time by `time.monotonic` after which no more is simulated [s].

    Raises
    ------
    CineReconError
        That of simulating an item, in any process.
    """
    loader = DataLoader(_Ready(items), batch_size=None, num_workers=min(n_workers, len(items)))
    for number, error in enumerate(_errors(loader), 1):
        if error is not None:
            raise error
        progress(number / len(items))
        if time.monotonic() > deadline:
            return


def _errors(loader: DataLoader[CineReconError | None]) -> Iterator[CineReconError | None]:
    yield from loader


@dataclass(frozen=True, eq=False)
class _Ready(Dataset[CineReconError | None]):
    """Items that are made ready when they are asked for; the error, if there is one, is returned, as from a worker."""

    items: Sequence[Kept]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> CineReconError | None:
        try:
            with one_thread():
                self.items[number].make_ready()
        except CineReconError as error:
            return error
        return None
