"""The one door: classical or deep, a reconstruction takes the data of one slice and returns its image series."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.errors import WeightsError
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import view_share

MODEL_ENDING = ".safetensors"
"""Of a model in one file: weights, with the recipe in the metadata."""

SAMPLES_AT_ONCE = 2**21
"""Of the images of coils that are transformed together on a CPU: more take fresh memory each time, thrice as slow."""

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
        ||u - u_before|| / ||u||.
    """

    cost: list[float] = field(default_factory=list)
    data_residual: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)

    def add(self, cost: float, data_residual: float, change: float) -> None:
        """Append one iteration."""
        self.cost.append(cost)
        self.data_residual.append(data_residual)
        self.change.append(change)


def ratio(part: float, whole: float) -> float:
    """A norm over another; 0 where both vanish."""
    return part / whole if whole else 0.0


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
    y, x = data.matrix
    at_once = max(1, SAMPLES_AT_ONCE // (data.n_frames * y * x)) if data.kspace.device.type == "cpu" else None
    return Encoding(data.mask, data.csm, matrix=data.matrix, dtype=data.kspace.dtype, coils_at_once=at_once)


def view_shared_image(data: CineData) -> Tensor:
    """The image ``(*batch, frames, y, x)`` of k-space filled along time: blurred where A^H y is aliased."""
    everywhere = encoding_of(replace(data, mask=torch.ones_like(data.mask)))
    return everywhere.adjoint(view_share(data.kspace, data.mask))


def cine_by_cine(
    data: CineData,
    reconstruct: Callable[[CineData, Progress], Tensor],
    progress: Progress | None = None,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Reconstruct the cines of a batch one after the other, where each takes steps of its own.

    Parameters
    ----------
    data
        With or without batch axes.
    reconstruct
        Makes the image ``(frames, y, x)`` of a cine without batch axes, and tells its progress.
    progress
        Told of the whole, in percent of a cine.
    device
        Where the work is done; None: where the data lie.

    Returns
    -------
    Tensor
        ``(*batch, frames, y, x)``, where the data lie.
    """
    batch = data.kspace.shape[:-4]
    image = data.kspace.new_empty(*batch, data.n_frames, *data.matrix)
    for n, item in enumerate(np.ndindex(*batch)):

        def tell(done: int, total: int, n: int = n) -> None:
            if progress:
                progress(int(100 * (n + done / total)), 100 * batch.numel())

        csm = None if data.csm is None else data.csm[item]
        one = CineData(data.kspace[item], data.mask[item], csm)
        image[item] = reconstruct(one if device is None else one.to(device), tell)
        tell(1, 1)
    return image


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


def imported_folder() -> Path:
    """Where imported models are kept: ``$CINERECON_MODELS``, or ``~/.local/share/cinerecon/models``."""
    chosen = os.environ.get("CINERECON_MODELS")
    return Path(chosen) if chosen else Path.home() / ".local/share/cinerecon/models"


def imported_models() -> list[Path]:
    """The models imported so far."""
    return sorted(imported_folder().glob(f"*{MODEL_ENDING}"))


def find_model(name: str) -> Path | None:
    """Where a model is, given the path of a file or folder, or the name of a shipped or imported one."""
    path = Path(name)
    if (path.suffix == MODEL_ENDING and path.is_file()) or (path / "model.yaml").is_file():
        return path
    shipped, imported = models_folder() / name, imported_folder() / f"{name}{MODEL_ENDING}"
    if imported.is_file() and not shipped.is_dir():
        return imported
    return next((folder for folder in (shipped, path) if folder.is_dir()), None)


def model_label(name: str) -> str:
    """What a method is called where its results are named: without folders and ending."""
    return Path(name).name.removesuffix(MODEL_ENDING)
