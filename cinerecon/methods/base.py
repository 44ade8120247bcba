"""The one door: classical or deep, a reconstruction takes the data of one slice and returns its image series."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.physics.operators import Encoding

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


class Reconstructor(Protocol):
    """What every method is. Callers cannot tell classical from deep."""

    @property
    def config(self) -> Config:
        """The settings it was built with."""
        ...

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)`` complex, in the units of A^H y. Leaves the input untouched."""
        ...


def encoding_of(data: CineData) -> Encoding:
    """The encoding operator A that made this k-space."""
    return Encoding(data.mask, data.csm, matrix=data.matrix, dtype=data.kspace.dtype)
