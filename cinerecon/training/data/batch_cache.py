"""Cache of batches: those whose initial images take longer than a training step are computed only once."""

import hashlib
from dataclasses import dataclass
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
from cinerecon.training.data.case import from_half, to_half


@dataclass(frozen=True, eq=False)
class CachedBatches(Dataset[Batch]):
    """A periodic sequence of batches: each is drawn on first access, by any run, and read from a file afterwards.

    Attributes
    ----------
    batches
        The batches to be cached.
    n_different
        Number of different batches, the period of the sequence.
    folder
        Folder of the files; runs with the same folder share them.
    n_frames
        Number of consecutive frames taken from a cached batch, which vary with each access, in either direction; None
        means all frames.
    seed
        Seed of the choice of frames, of their direction, and of a constant phase.
    """

    batches: Dataset[Batch]
    n_different: int
    folder: Path
    n_frames: int | None = None
    seed: tuple[int, ...] = (0,)

    def __getitem__(self, number: int) -> Batch:
        """Read the batch of a number, which is drawn first if it is not in the cache."""
        cached = CachedBatch(self, number % self.n_different)
        cached.ensure_cached()
        return vary(read_batch(cached.path), self.n_frames, np.random.default_rng([*self.seed, number]))

    def uncached(self) -> "list[CachedBatch]":
        """Batches that are not in the cache yet."""
        batches = [CachedBatch(self, number) for number in range(self.n_different)]
        return [batch for batch in batches if not batch.path.exists()]


@dataclass(frozen=True, eq=False)
class CachedBatch:
    """One of the different batches of `CachedBatches`."""

    batches: CachedBatches
    number: int

    @property
    def path(self) -> Path:
        """File of the batch."""
        return self.batches.folder / f"{self.number}.safetensors"

    def ensure_cached(self) -> None:
        """Draw the batch and write its file, unless it exists."""
        if not self.path.exists():
            write_batch(self.path, self.batches.batches[self.number])


def vary(batch: Batch, n_frames: int | None, rng: Generator) -> Batch:
    """Select frames of a batch, in either direction, and add a constant phase; data and images remain consistent."""
    total = batch.kspace.shape[1]
    n_frames = min(n_frames or total, total)
    first = int(rng.integers(total - n_frames + 1))
    frames = torch.arange(first, first + n_frames)
    frames = frames.flip(0) if rng.random() < 0.5 else frames
    phase = complex(np.exp(2j * np.pi * rng.random()))
    kspace = batch.kspace[:, frames] * phase
    encoding = Encoding(batch.encoding.mask[:, frames], batch.encoding.csm, matrix=batch.encoding.matrix)
    return batch.with_images(lambda image: image[:, frames] * phase, kspace=kspace, encoding=encoding)


def batch_cache_name(*texts: str) -> str:
    """Name of the folder for batches that depend on all of these texts."""
    return "batches-" + hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def write_batch(path: Path, batch: Batch) -> None:
    """Write the measured samples and the images of a batch in half precision, in one step."""
    mask = batch.encoding.mask
    halves = {
        "kspace": batch.kspace[mask.expand(batch.kspace.shape)],
        "csm": batch.encoding.csm,
        "target": batch.target,
        "start": batch.initial_image,
    }
    arrays = {"mask": mask.contiguous(), "matrix": torch.tensor(batch.encoding.matrix)}
    arrays |= {name: to_half(array) for name, array in halves.items() if array is not None}
    if batch.noise is not None:
        arrays["noise"] = batch.noise.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with moved_into_place(path) as temporary:
        save_file(arrays, temporary)


def read_batch(path: Path) -> Batch:
    """Read a batch written by `write_batch`."""
    with safe_open(path, framework="pt") as file:
        arrays: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    mask, (ky, kx) = arrays["mask"], arrays["matrix"].tolist()
    csm, target, initial_image = (
        from_half(arrays[name]) if name in arrays else None for name in ("csm", "target", "start")
    )
    n_coils = 1 if csm is None else csm.shape[-3]
    kspace = torch.zeros(*mask.shape[:2], n_coils, ky, kx, dtype=torch.complex64)
    kspace[mask.expand(kspace.shape)] = from_half(arrays["kspace"])
    return Batch(kspace, Encoding(mask, csm, matrix=(ky, kx)), target, initial_image, noise=arrays.get("noise"))
