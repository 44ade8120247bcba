"""Batches of measured, undersampled scans, complete along ky, for training without a reference.

Scans are raw data, prepared cases or CMRxRecon files. If whole readouts were sampled, a strip along x is cut.
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

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import find_cines, open_scan
from cinerecon.cine import CineData
from cinerecon.errors import FileError
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import ScaleName
from cinerecon.methods.normalisation import scale_of
from cinerecon.physics.fourier import fft1c, ifft1c
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import samples_whole_readouts
from cinerecon.training.data.augment import cyclic_frames
from cinerecon.training.data.batch import Batch, choose_weighted
from cinerecon.training.data.config import parse_crop
from cinerecon.training.data.workers import one_thread
from cinerecon.training.recipe import TrainConfig
from cinerecon.training.ssdu import draw_loss_mask, split_batch

N_CACHED_SLICES = 16
"""Number of slices that are cached in memory."""


@dataclass(frozen=True)
class Scans:
    """Slices of undersampled scans.

    Attributes
    ----------
    slices
        File and number of each slice.
    preprocessing
        Settings of the acquisition, as JSON.
    scale
        Rule by which data are scaled.
    """

    slices: tuple[tuple[Path, int], ...]
    preprocessing: str
    scale: ScaleName

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys(path for path, _ in self.slices))

    def read(self, number: int) -> CineData:
        """Read a slice at unit scale."""
        path, index = self.slices[number]
        return _read(path, index, self.preprocessing, self.scale)


def open_scans(paths: Sequence[Path], preprocessing: AcquisitionConfig, scale: ScaleName) -> Scans:
    """Find the slices of scans, folders of scans, and training cases of prepared folders.

    Raises
    ------
    FileError
        If there are no scans.
    CineReconError
        If a file cannot be read.
    """
    files = [file for path in paths for file in (find_cines(path, "train") if path.is_dir() else [path])]
    slices = [(file, number) for file in files for number in range(open_scan(file, preprocessing).n_slices)]
    if not slices:
        raise FileError("there is no scan to train on", where="--scan")
    return Scans(tuple(slices), preprocessing.model_dump_json(), scale)


@lru_cache(maxsize=N_CACHED_SLICES)
def _read(path: Path, number: int, preprocessing: str, scale: ScaleName) -> CineData:
    data = open_scan(path, AcquisitionConfig.model_validate_json(preprocessing)).read_slice(number)
    mask = data.mask[..., :1] if samples_whole_readouts(data.mask) else data.mask
    return CineData(data.kspace / scale_of(data, scale), mask, data.csm)


@dataclass(frozen=True, eq=False)
class ScanBatches(Dataset[Batch]):
    """An endless sequence of batches, each with strips of one slice and split samples; see `Batches`.

    Attributes
    ----------
    scans, config
        The scans, and settings of the training.
    seed
        Seed that, together with the number of a batch, determines all its random numbers.
    is_validation
        Whether the loss samples are those that are never used for training, instead of a new subset of the others.
    initial_method
        Computes the initial image.
    """

    scans: Scans
    config: TrainConfig
    seed: tuple[int, ...]
    is_validation: bool = False
    initial_method: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """Draw the batch of a number."""
        with one_thread():
            rng = np.random.default_rng([*self.seed, number])
            index = int(rng.integers(len(self.scans.slices)))
            data = self.scans.read(index)
            validation_rng = np.random.default_rng([self.config.seed, 3, index])
            unseen = draw_loss_mask(data.mask, self.config.ssdu.validation_share, validation_rng)
            size = 1 if self.is_validation else self.config.batch_size
            columns = self._draw_columns(data, rng)
            batch, unseen_mask = _stack([self._cut(data, unseen, columns, rng) for _ in range(size)])
            if self.is_validation:
                return split_batch(batch, unseen_mask, self.initial_method)
            training_mask = batch.encoding.mask & ~unseen_mask
            share = self.config.ssdu.loss_share
            loss_mask = torch.stack([draw_loss_mask(mask, share, rng) for mask in training_mask])
            encoding = Encoding(training_mask, batch.encoding.csm, matrix=batch.encoding.matrix)
            rest = Batch(batch.kspace * training_mask, encoding, None)
            return split_batch(rest, loss_mask, self.initial_method)

    def _draw_columns(self, data: CineData, rng: Generator) -> slice:
        """Draw a strip along x; all columns if the mask varies along kx."""
        _, width = parse_crop(choose_weighted(self.config.data.crops, rng))
        n = data.matrix[1]
        if width is None or width >= n or data.mask.shape[-1] > 1:
            return slice(0, n)
        first = int(rng.integers(n - width + 1))
        return slice(first, first + width)

    def _cut(self, data: CineData, unseen: Tensor, columns: slice, rng: Generator) -> tuple[CineData, Tensor]:
        """Cut consecutive frames of a strip, and the mask of its samples that are never used for training."""
        n_frames = min(self.config.data.n_frames or data.n_frames, data.n_frames)
        n_starts = data.n_frames - n_frames + 1 if data.meta.is_real_time else data.n_frames
        first = int(rng.integers(n_starts))
        frames = torch.from_numpy(cyclic_frames(data.n_frames, first)[:n_frames])
        kspace = data.kspace[frames]
        if columns.stop - columns.start < data.matrix[1]:
            kspace = fft1c(ifft1c(kspace, -1)[..., columns], -1)
        csm = None if data.csm is None else data.csm[..., columns]
        return CineData(kspace, data.mask[frames], csm), unseen[frames]


def _stack(pieces: list[tuple[CineData, Tensor]]) -> tuple[Batch, Tensor]:
    cines, masks = zip(*pieces, strict=True)
    csm = None if cines[0].csm is None else torch.stack([cine.csm for cine in cines])
    encoding = Encoding(torch.stack([cine.mask for cine in cines]), csm, matrix=cines[0].matrix)
    return Batch(torch.stack([cine.kspace for cine in cines]), encoding, None), torch.stack(masks)
