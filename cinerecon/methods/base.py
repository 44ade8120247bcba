"""The one door: classical or deep, a reconstruction takes the data of one slice and returns its image series."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.errors import WeightsError
from cinerecon.physics.operators import Encoding

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass
class Convergence:
    """What an iterative method tells of its way, one number per iteration; filled only where it is asked for.

    Attributes
    ----------
    cost
        The function that is minimised.
    data_residual
        ||A u - y|| / ||y||.
    change
        ||u - u_before|| / ||u_before||.
    """

    cost: list[float] = field(default_factory=list)
    data_residual: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)

    def add(self, cost: float, data_residual: float, change: float) -> None:
        """Append one iteration."""
        self.cost.append(cost)
        self.data_residual.append(data_residual)
        self.change.append(change)


class Reconstructor(Protocol):
    """What every method is. Callers cannot tell classical from deep."""

    @property
    def config(self) -> Config:
        """The settings it was built with."""
        ...

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)`` complex, in the units of A^H y. Leaves the input untouched."""
        ...


@runtime_checkable
class Iterative(Reconstructor, Protocol):
    """A method that tells of its way, where `convergence` is set before it is called."""

    convergence: Convergence | None


def encoding_of(data: CineData) -> Encoding:
    """The encoding operator A that made this k-space."""
    return Encoding(data.mask, data.csm, matrix=data.matrix, dtype=data.kspace.dtype)


def models_folder() -> Path:
    """The folder of recipes and weights that comes with the program: inside the package, or in its source tree.

    Raises
    ------
    WeightsError
        If the installation lost it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise WeightsError("the folder of trained models is missing", where=str(package), hint="install cinerecon again")
