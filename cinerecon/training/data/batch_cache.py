"""Batches that are drawn once and kept: where first images take longer than a training step, they are made once."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset

from cinerecon.io.atomic import moved_into_place
from cinerecon.physics.operators import Encoding
from cinerecon.training.data.batch import Batch


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
    n_frames
        Consecutive frames that are taken of a kept batch, others each time it comes, forwards or backwards; None: all.
    seed
        Of which frames, of their order, and of a phase by which the cine is turned.
    """

    drawn: Dataset[Batch]
    n_different: int
    folder: Path
    n_frames: int | None = None
    seed: tuple[int, ...] = (0,)

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number."""
        path = self.folder / f"{number % self.n_different}.safetensors"
        if not path.exists():
            write_batch(path, self.drawn[number % self.n_different])
        return vary(read_batch(path), self.n_frames, np.random.default_rng([*self.seed, number]))


def vary(batch: Batch, n_frames: int | None, rng: Generator) -> Batch:
    """Take some frames of a batch, perhaps in reverse, and turn the phase of all: what is measured of that is known."""
    total = batch.kspace.shape[1]
    n_frames = min(n_frames or total, total)
    first = int(rng.integers(total - n_frames + 1))
    frames = torch.arange(first, first + n_frames)
    frames = frames.flip(0) if rng.random() < 0.5 else frames
    turn = complex(np.exp(2j * np.pi * rng.random()))
    take = lambda series: None if series is None else series[:, frames] * turn  # noqa: E731
    encoding = Encoding(batch.encoding.mask[:, frames], batch.encoding.csm, matrix=batch.encoding.matrix)
    kspace = batch.kspace[:, frames] * turn
    return replace(batch, kspace=kspace, encoding=encoding, target=take(batch.target), start=take(batch.start))


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
        "noise": batch.noise,
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
    return Batch(arrays["kspace"], encoding, arrays.get("target"), arrays.get("start"), noise=arrays.get("noise"))
