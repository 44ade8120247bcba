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
from cinerecon.training.data.half import complex_of, to_half


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
        kept = KeptBatch(self, number % self.n_different)
        kept.make_ready()
        return vary(read_batch(kept.path), self.n_frames, np.random.default_rng([*self.seed, number]))

    def missing(self) -> "list[KeptBatch]":
        """Batches that have not been drawn yet."""
        batches = [KeptBatch(self, number) for number in range(self.n_different)]
        return [batch for batch in batches if not batch.path.exists()]


@dataclass(frozen=True, eq=False)
class KeptBatch:
    """One of the different batches, drawn when it is first needed."""

    batches: KeptBatches
    number: int

    @property
    def path(self) -> Path:
        """The file it is kept in."""
        return self.batches.folder / f"{self.number}.safetensors"

    def make_ready(self) -> None:
        """Draw the batch and keep it, if that has not been done."""
        if not self.path.exists():
            write_batch(self.path, self.batches.drawn[self.number])


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
    """Write a batch with truth, in one step: samples that were measured, and images, in half precision."""
    mask = batch.encoding.mask
    halves = {
        "kspace": batch.kspace[mask.expand(batch.kspace.shape)],
        "csm": batch.encoding.csm,
        "target": batch.target,
        "start": batch.start,
    }
    arrays = {"mask": mask.contiguous(), "matrix": torch.tensor(batch.encoding.matrix)}
    arrays |= {name: to_half(array) for name, array in halves.items() if array is not None}
    if batch.noise is not None:
        arrays["noise"] = batch.noise.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with moved_into_place(path) as temporary:
        save_file(arrays, temporary)


def read_batch(path: Path) -> Batch:
    """Read what `write_batch` wrote."""
    with safe_open(path, framework="pt") as file:
        arrays: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    mask, (ky, kx) = arrays["mask"], arrays["matrix"].tolist()
    csm, target, start = (complex_of(arrays[name]) if name in arrays else None for name in ("csm", "target", "start"))
    n_coils = 1 if csm is None else csm.shape[-3]
    kspace = torch.zeros(*mask.shape[:2], n_coils, ky, kx, dtype=torch.complex64)
    kspace[mask.expand(kspace.shape)] = complex_of(arrays["kspace"])
    return Batch(kspace, Encoding(mask, csm, matrix=(ky, kx)), target, start, noise=arrays.get("noise"))
