"""Batches of undersampled scans as they were measured: whole along ky, without truth.

Raw scans, prepared cases and CMRxRecon files alike. A strip along x is cut where whole readouts were sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import Dataset

from cinerecon.acquisition import AcquisitionConfig, find_cines, open_cine
from cinerecon.cine import CineData
from cinerecon.errors import FileError
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.normalisation import ScaleName, scale_of
from cinerecon.physics.fourier import fft1c, ifft1c
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import samples_whole_readouts
from cinerecon.training.data import Batch, choose, one_thread, parse_crop
from cinerecon.training.data.augment import cyclic_frames
from cinerecon.training.recipe import TrainConfig
from cinerecon.training.ssdu import hold_back, without

N_KEPT = 16
"""Slices kept in memory."""


@dataclass(frozen=True)
class Scans:
    """Slices of undersampled scans.

    Attributes
    ----------
    slices
        File and number of each.
    intake
        How raw data are prepared, as JSON.
    scale
        What they are divided by.
    """

    slices: tuple[tuple[Path, int], ...]
    intake: str
    scale: ScaleName

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(path for path, _ in self.slices))

    def read(self, number: int) -> CineData:
        """A slice at unit scale."""
        path, place = self.slices[number]
        return _read(path, place, self.intake, self.scale)


def open_scans(paths: Sequence[Path], intake: AcquisitionConfig, scale: ScaleName) -> Scans:
    """Find the slices of scans, of folders of scans, and of the training cases of prepared folders.

    Raises
    ------
    FileError
        If there are none.
    CineReconError
        If a file cannot be read.
    """
    files = [file for path in paths for file in (find_cines(path, "train") if path.is_dir() else [path])]
    slices = [(file, number) for file in files for number in range(open_cine(file, intake).n_slices)]
    if not slices:
        raise FileError("there is no scan to train on", where="--scan")
    return Scans(tuple(slices), intake.model_dump_json(), scale)


@lru_cache(maxsize=N_KEPT)
def _read(path: Path, number: int, intake: str, scale: ScaleName) -> CineData:
    data = open_cine(path, AcquisitionConfig.model_validate_json(intake)).read_slice(number)
    mask = data.mask[..., :1] if samples_whole_readouts(data.mask) else data.mask
    return CineData(data.kspace / scale_of(data, scale), mask, data.csm)


@dataclass(frozen=True, eq=False)
class ScanBatches(Dataset[Batch]):
    """An endless row of batches, each of windows cut from one slice; see `Batches`.

    Attributes
    ----------
    scans, config
        Where windows are cut from, and how.
    seed
        With the number of a batch, all that is random about it.
    validates
        Whether what is held back is what training never sees, instead of a new part of the rest.
    start
        The method that makes the first image.
    """

    scans: Scans
    config: TrainConfig
    seed: tuple[int, ...]
    validates: bool = False
    start: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number, with samples held back."""
        with one_thread():
            rng = np.random.default_rng([*self.seed, number])
            place = int(rng.integers(len(self.scans.slices)))
            data = self.scans.read(place)
            unseen_rng = np.random.default_rng([self.config.seed, 3, place])
            unseen = hold_back(data.mask, self.config.ssdu.validation_share, unseen_rng)
            size = 1 if self.validates else self.config.batch_size
            columns = self._draw_columns(data, rng)
            batch, never = _stack([self._cut(data, unseen, columns, rng) for _ in range(size)])
            if self.validates:
                return without(batch, never, self.start)
            seen = batch.encoding.mask & ~never
            share = self.config.ssdu.loss_share
            held = torch.stack([hold_back(mask, share, rng) for mask in seen])
            rest = Batch(batch.kspace * seen, Encoding(seen, batch.encoding.csm, matrix=batch.encoding.matrix), None)
            return without(rest, held, self.start)

    def _draw_columns(self, data: CineData, rng: Generator) -> slice:
        """A strip along x; all of it where single points were sampled."""
        _, wanted = parse_crop(choose(self.config.data.crops, rng))
        n = data.matrix[1]
        if wanted is None or wanted >= n or data.mask.shape[-1] > 1:
            return slice(0, n)
        first = int(rng.integers(n - wanted + 1))
        return slice(first, first + wanted)

    def _cut(self, data: CineData, unseen: Tensor, columns: slice, rng: Generator) -> tuple[CineData, Tensor]:
        """Consecutive frames of a strip, and which of its samples training never sees."""
        first = int(rng.integers(data.n_frames))
        chosen = torch.from_numpy(cyclic_frames(data.n_frames, first)[: self.config.data.n_frames])
        kspace = data.kspace[chosen]
        if columns.stop - columns.start < data.matrix[1]:
            kspace = fft1c(ifft1c(kspace, -1)[..., columns], -1)
        csm = None if data.csm is None else data.csm[..., columns]
        return CineData(kspace, data.mask[chosen], csm), unseen[chosen]


def _stack(pieces: list[tuple[CineData, Tensor]]) -> tuple[Batch, Tensor]:
    cines, masks = zip(*pieces, strict=True)
    csm = None if cines[0].csm is None else torch.stack([cine.csm for cine in cines])
    encoding = Encoding(torch.stack([cine.mask for cine in cines]), csm, matrix=cines[0].matrix)
    return Batch(torch.stack([cine.kspace for cine in cines]), encoding, None), torch.stack(masks)
