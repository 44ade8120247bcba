"""Batches that are drawn once and kept: where first images take longer than a training step, they are made once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from cinerecon.data.files import moved_into_place
from cinerecon.physics.operators import Encoding
from cinerecon.workflows.dataset.batch import Batch


@dataclass(frozen=True, eq=False)
class KeptBatches(Dataset[Batch]):
    """A row of batches that repeats: each is drawn when it is first asked for, by whichever run, and then read.

    Attributes
    ----------
    drawn
        Draws them.
    n_different
        After so many they come again.
    folder
        Where they are kept; runs that share it share the batches.
    """

    drawn: Dataset[Batch]
    n_different: int
    folder: Path

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number."""
        path = self.folder / f"{number % self.n_different}.safetensors"
        if not path.exists():
            write_batch(path, self.drawn[number % self.n_different])
        return read_batch(path)


def name_of(*texts: str) -> str:
    """The name of a folder for batches that all these texts together decide on."""
    return "batches-" + hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def write_batch(path: Path, batch: Batch) -> None:
    """Write a batch with truth, in one step."""
    arrays = {
        "kspace": batch.kspace,
        "mask": batch.encoding.mask,
        "csm": batch.encoding.csm,
        "matrix": torch.tensor(batch.encoding.matrix),
        "target": batch.target,
        "start": batch.start,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with moved_into_place(path) as temporary:
        save_file({name: array.contiguous() for name, array in arrays.items() if array is not None}, temporary)


def read_batch(path: Path) -> Batch:
    """Read what `write_batch` wrote."""
    with safe_open(path, framework="pt") as file:
        arrays: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    ky, kx = arrays["matrix"].tolist()
    encoding = Encoding(arrays["mask"], arrays.get("csm"), matrix=(ky, kx))
    return Batch(arrays["kspace"], encoding, arrays.get("target"), arrays.get("start"))
