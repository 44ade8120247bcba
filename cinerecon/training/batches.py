"""Training and validation batches: scaling, demodulation and initial images for the network of a recipe."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.formats.case import SETTINGS
from cinerecon.archives.case_index import list_cases
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.io.case import CaseFile
from cinerecon.io.paths import as_path
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ScaleName, with_portable_code
from cinerecon.methods.normalisation import demodulate_encoding, mean_phase, scale_of
from cinerecon.methods.table import load_initial_method
from cinerecon.training.card import describe_pool, describe_scans, list_data
from cinerecon.training.data.batch import Batch, Batches, require_fit
from cinerecon.training.data.batch_cache import CachedBatches, batch_cache_name
from cinerecon.training.data.config import PreparedSource
from cinerecon.training.data.pool import SPLITS, CasePool, open_pool
from cinerecon.training.data.simulated import SIMULATION_VERSION
from cinerecon.training.data.workers import Cacheable, load_batches, one_thread
from cinerecon.training.distributed import ProcessGroup
from cinerecon.training.recipe import Recipe, SsduConfig, TrainConfig
from cinerecon.training.scans import ScanBatches, open_scans
from cinerecon.training.ssdu import draw_loss_mask, split_batch
from cinerecon.version import __version__

DEFAULT_PREPROCESSING = AcquisitionConfig().model_dump()


@dataclass(frozen=True)
class DataPaths:
    """Folders of data that are not specified in a recipe.

    Attributes
    ----------
    cache
        Folder of simulated cases and cached batches.
    series
        Folders of measured magnitude cines, for sources of kind ``series`` without a folder.
    scans
        Undersampled scans, or folders of scans or prepared cases, that replace the sources of the recipe and are used
        for training without a reference (loss ``ssdu``). A single scan is sufficient.
    """

    cache: Path
    series: tuple[Path, ...] = ()
    scans: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache", as_path(self.cache, "cache"))
        for name in ("series", "scans"):
            paths = getattr(self, name)
            listed = [paths] if isinstance(paths, str | os.PathLike) else paths
            object.__setattr__(self, name, tuple(as_path(path, name) for path in listed))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Batches for training and validation.

    Attributes
    ----------
    batches
        Training batches by number.
    draw_validation
        Draws the validation batches.
    card
        Card of the weights with the description of the data.
    uncached
        Lists the cases or batches that are simulated before the first step, so that no step has to wait for them.
    draw_as_measured
        Draws the validation batches without demodulation, for methods other than the network.
    """

    batches: Dataset[Batch]
    draw_validation: Callable[[], list[Batch]]
    card: Card
    uncached: Callable[[], Sequence[Cacheable]] = list
    draw_as_measured: Callable[[], list[Batch]] = list

    def load(self, config: TrainConfig, n_steps_done: int, group: ProcessGroup, n_workers: int) -> Iterator[Batch]:
        """Draw the batches of this process for all remaining steps."""
        n = config.n_batches
        first = ((step * group.size + group.rank) * n for step in range(n_steps_done, config.n_steps))
        return load_batches(self.batches, [number + k for number in first for k in range(n)], n_workers)


@dataclass(frozen=True, eq=False)
class ScaledBatches(Dataset[Batch]):
    """Batches at the scale of a recipe, with samples split for training without a reference if required.

    Attributes
    ----------
    batches
        Batches of unit scale.
    seed
        Seed of the splits, together with the number of a batch.
    scale
        Rule for the scale of each patch, as in a reconstruction.
    ssdu
        Settings of the split of the samples; None for no split.
    initial_method
        Computes the initial image from the samples that the network receives.
    """

    batches: Dataset[Batch]
    seed: tuple[int, ...]
    scale: ScaleName
    ssdu: SsduConfig | None = None
    initial_method: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """Draw the batch of a number."""
        batch = self.batches[number]
        with one_thread():
            batch = scale_batch(batch, self.scale)
            if self.ssdu is None:
                return batch
            rng = np.random.default_rng([*self.seed, number, 1])
            masks = [draw_loss_mask(mask, self.ssdu.loss_share, rng) for mask in batch.encoding.mask]
            return split_batch(batch, torch.stack(masks), self.initial_method)


@dataclass(frozen=True, eq=False)
class DemodulatedBatches(Dataset[Batch]):
    """Batches without the smoothed phase of their time average, see `methods.network`."""

    batches: Dataset[Batch]
    smoothing: float = 0.0

    def __getitem__(self, number: int) -> Batch:
        """Draw the batch of a number."""
        batch = self.batches[number]
        with one_thread():
            return demodulate(batch, self.smoothing)


def demodulate(batch: Batch, smoothing: float = 0.0) -> Batch:
    """Move the smoothed phase of the time average from the images into the coil maps, as in a reconstruction."""
    phase = mean_phase(network_input(batch), smoothing)  # (batch, y, x)
    conjugate = phase[:, None].conj()
    loss_samples = batch.loss_samples and (batch.loss_samples[0], demodulate_encoding(batch.loss_samples[1], phase))
    encoding = demodulate_encoding(batch.encoding, phase)
    return batch.with_images(lambda image: image * conjugate, encoding=encoding, loss_samples=loss_samples)


def network_input(batch: Batch) -> Tensor:
    """The initial image of a batch; without one, the zero-filled image."""
    return batch.encoding.adjoint(batch.kspace) if batch.initial_image is None else batch.initial_image


def scale_batch(batch: Batch, rule: ScaleName) -> Batch:
    """Scale each patch of a batch of unit brightness by a rule."""
    if rule == "brightness":
        return batch
    csm = batch.encoding.csm
    cines = [
        CineData(kspace, mask, None if csm is None else csm[n])
        for n, (kspace, mask) in enumerate(zip(batch.kspace, batch.encoding.mask, strict=True))
    ]
    scale = torch.stack([scale_of(cine, rule) for cine in cines])  # (batch,)
    kspace = batch.kspace / scale.view(-1, 1, 1, 1, 1)
    noise = None if batch.noise is None else batch.noise / scale
    return batch.with_images(lambda image: image / scale.view(-1, 1, 1, 1), kspace=kspace, noise=noise)


def open_training_data(recipe: Recipe, paths: DataPaths) -> TrainingData:
    """Open the data of a recipe, without reading or simulating any array.

    Raises
    ------
    ConfigError
        If the loss needs a reference and the data have none, or a setting is wrong.
    FileError
        If there are no data.
    """
    config = recipe.training
    initial_method = load_initial_method(recipe)
    if paths.scans:
        return _open_scans(recipe, paths, initial_method)
    training, validation = (open_pool(config.data, paths.cache, split, paths.series) for split in SPLITS)
    for pool in (training, validation):
        require_fit(pool, config.data, whole_beat=initial_method is not None)
    seeds = (config.seed, 1), (config.seed, 2)
    is_ssdu, n_cached = config.loss == "ssdu", config.data.n_cached_batches
    drawn: Dataset[Batch] = Batches(
        training, config.data, config.batch_size, seeds[0], None if is_ssdu else initial_method
    )
    cacheable: CasePool | CachedBatches = training
    if n_cached:
        drawn = cacheable = _cached(drawn, recipe, n_cached, paths, initial_method)
    n_draws = config.n_steps * config.n_batches * (1 if n_cached else config.batch_size)
    fixed = ScaledBatches(Batches(validation, config.data, 1, seeds[1], initial_method), seeds[1], recipe.scale)
    drawn = ScaledBatches(drawn, seeds[0], recipe.scale, config.ssdu if is_ssdu else None, initial_method)
    return TrainingData(
        _demodulated(drawn, recipe),
        lambda: _first(_demodulated(fixed, recipe), config.n_validation),
        describe_pool(config.data, training, validation),
        lambda: _if_all_needed(cacheable.uncached(), n_draws),
        lambda: _first(fixed, config.n_validation),
    )


def _open_scans(recipe: Recipe, paths: DataPaths, initial_method: Reconstructor | None) -> TrainingData:
    """Open undersampled scans, for training without a reference."""
    config = recipe.training
    if config.loss != "ssdu":
        hint = "--loss ssdu"
        raise ConfigError(
            f"the loss {config.loss} needs a reference, which a scan does not have", where="--scan", hint=hint
        )
    preprocessing = AcquisitionConfig.parse(recipe.preprocessing, where="preprocessing")
    scans = open_scans(paths.scans, preprocessing, recipe.scale)
    training = ScanBatches(scans, config, (config.seed, 1), initial_method=initial_method)
    validation = replace(training, seed=(config.seed, 2), is_validation=True)
    return TrainingData(
        _demodulated(training, recipe),
        lambda: _first(_demodulated(validation, recipe), config.n_validation),
        describe_scans(scans),
        draw_as_measured=lambda: _first(validation, config.n_validation),
    )


def _demodulated(batches: Dataset[Batch], recipe: Recipe) -> Dataset[Batch]:
    return DemodulatedBatches(batches, recipe.phase_smoothing) if recipe.demodulate else batches


def _if_all_needed(items: Sequence[Cacheable], n_draws: int) -> Sequence[Cacheable]:
    """All items, or none if the training is too short to need all of them."""
    return items if n_draws >= len(items) else []


def _cached(
    batches: Dataset[Batch], recipe: Recipe, n_different: int, paths: DataPaths, initial_method: Reconstructor | None
) -> CachedBatches:
    """Batches cached in a folder whose name is a checksum of all settings that they depend on."""
    config = recipe.training
    initial = ""
    if recipe.initial_method and initial_method and config.loss != "ssdu":
        portable = with_portable_code(recipe).initial_method
        initial = (portable.model_dump_json() if portable else "") + initial_method.code_sha256
    data = list_data(config.data, paths.series)
    data += config.data.model_dump_json(exclude={"n_cached_batches", "n_cached_frames"})
    seed = f"{config.batch_size} {config.seed}"
    name = batch_cache_name(__version__, str(SIMULATION_VERSION), data, initial, seed)
    return CachedBatches(batches, n_different, paths.cache / name, config.data.n_cached_frames, (config.seed, 3))


def _first(batches: Dataset[Batch], n: int) -> list[Batch]:
    return [batches[number] for number in range(n)]


def training_preprocessing(recipe: Recipe) -> dict[str, Any]:
    """The preprocessing to be stored with the weights: that of the prepared cases, or of the recipe.

    Raises
    ------
    ConfigError
        If the preprocessing of prepared cases differs from that of the recipe or of other cases.
    """
    expected: dict[str, Any] | None = dict(recipe.preprocessing) or None
    for name, source in recipe.training.data.sources.items():
        if not isinstance(source, PreparedSource):
            continue
        with CaseFile(list_cases(source.folder, "train")[0]) as case:
            stored = case.attributes.get("intake", {})
        prepared = {
            key: stored[key]
            for key in SETTINGS
            if stored.get(key, DEFAULT_PREPROCESSING[key]) != DEFAULT_PREPROCESSING[key]
        }
        if expected is not None and expected != prepared:
            actual, required = (settings or "the defaults" for settings in (prepared, expected))
            what = f"the cases of '{name}' were prepared with {actual}, expected {required}"
            hint = "prepare all cases in the same way, and remove preprocessing from the recipe"
            raise ConfigError(what, where="preprocessing", hint=hint)
        expected = prepared
    return expected or {}
