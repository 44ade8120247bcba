"""What training is fed with: batches at the scale of the recipe, and fixed ones to validate on."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from cinerecon.acquisition import SETTINGS, AcquisitionConfig
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.io.case import open_case
from cinerecon.io.case_index import list_cases
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.card import Card
from cinerecon.methods.normalisation import ScaleName, demodulate_encoding, mean_phase, scale_of
from cinerecon.methods.table import load_initial_method
from cinerecon.training.card import describe_pool, describe_scans, list_data
from cinerecon.training.data import (
    EDITION,
    PARTS,
    Batch,
    Batches,
    Kept,
    KeptBatches,
    Pool,
    PreparedSource,
    load_batches,
    name_of,
    one_thread,
    open_pool,
    require_fit,
)
from cinerecon.training.distributed import Team
from cinerecon.training.recipe import Recipe, SsduConfig, TrainConfig
from cinerecon.training.scans import ScanBatches, open_scans
from cinerecon.training.ssdu import hold_back, without

DEFAULTS = AcquisitionConfig().model_dump()


@dataclass(frozen=True)
class Places:
    """Where data lie that a recipe does not name.

    Attributes
    ----------
    cases
        Folder where simulated cines are kept.
    real
        Folders of measured magnitude cines, for a source ``series`` that names none.
    scans
        Undersampled scans, or folders of scans or prepared cases, to train on without truth, in place of the recipe's
        sources.
    """

    cases: Path
    real: tuple[Path, ...] = ()
    scans: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Feed:
    """Batches to train on, and what belongs to them.

    Attributes
    ----------
    batches
        Batches by number.
    draw_validation
        Draws those to validate on.
    card
        What the card of the weights says of the data.
    missing
        What is to be simulated before the first step, so that no step waits for it.
    draw_as_measured
        Draws the same batches to validate on as they are measured, for a method that is not this network.
    """

    batches: Dataset[Batch]
    draw_validation: Callable[[], list[Batch]]
    card: Card
    missing: Callable[[], Sequence[Kept]] = list
    draw_as_measured: Callable[[], list[Batch]] = list

    def load(self, config: TrainConfig, done: int, team: Team, n_workers: int) -> Iterator[Batch]:
        """The batches of this process, from the step after those that are done."""
        n = config.n_batches
        numbers = [
            (step * team.size + team.rank) * n + place for step in range(done, config.n_steps) for place in range(n)
        ]
        return load_batches(self.batches, numbers, n_workers)


@dataclass(frozen=True, eq=False)
class Prepared(Dataset[Batch]):
    """Batches with truth, as the network is to see them.

    Attributes
    ----------
    drawn
        At a brightness of 1.
    seed
        Of what is held back.
    scale
        What else they are divided by: each patch by its own, as a scan is in use.
    ssdu
        How samples are held back; None holds none back.
    start
        Makes the first image from what is left of the samples.
    """

    drawn: Dataset[Batch]
    seed: tuple[int, ...]
    scale: ScaleName
    ssdu: SsduConfig | None = None
    start: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number."""
        batch = self.drawn[number]
        with one_thread():
            batch = at_scale(batch, self.scale)
            if self.ssdu is None:
                return batch
            rng = np.random.default_rng([*self.seed, number, 1])
            held = torch.stack([hold_back(mask, self.ssdu.loss_share, rng) for mask in batch.encoding.mask])
            return without(batch, held, self.start)


@dataclass(frozen=True, eq=False)
class Demodulated(Dataset[Batch]):
    """Batches whose voxels are turned so that the first image is real on time average, see `methods.normalisation`."""

    batches: Dataset[Batch]
    smoothing: float = 0.0

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number."""
        batch = self.batches[number]
        with one_thread():
            return demodulate(batch, self.smoothing)


def demodulate(batch: Batch, smoothing: float = 0.0) -> Batch:
    """The batch with its phase, smoothed, in the coil maps, as the network of a scan gets it."""
    phase = mean_phase(first_image(batch), smoothing)
    back = phase[:, None].conj()
    held_back = batch.held_back and (batch.held_back[0], demodulate_encoding(batch.held_back[1], phase))
    target = None if batch.target is None else batch.target * back
    start = None if batch.start is None else batch.start * back
    return replace(
        batch, encoding=demodulate_encoding(batch.encoding, phase), target=target, start=start, held_back=held_back
    )


def first_image(batch: Batch) -> Tensor:
    """What a network begins with: the first image of the batch, or the zero-filled one."""
    return batch.encoding.adjoint(batch.kspace) if batch.start is None else batch.start


def at_scale(batch: Batch, rule: ScaleName) -> Batch:
    """A batch of brightness 1 at another scale, patch by patch."""
    if rule == "brightness":
        return batch
    csm = batch.encoding.csm
    cines = [
        CineData(kspace, mask, None if csm is None else csm[n])
        for n, (kspace, mask) in enumerate(zip(batch.kspace, batch.encoding.mask, strict=True))
    ]
    scale = torch.stack([scale_of(cine, rule) for cine in cines])
    divide = lambda image: None if image is None else image / scale.view(-1, 1, 1, 1)  # noqa: E731
    return replace(
        batch,
        kspace=batch.kspace / scale.view(-1, 1, 1, 1, 1),
        target=divide(batch.target),
        start=divide(batch.start),
        noise=None if batch.noise is None else batch.noise / scale,
    )


def open_feed(recipe: Recipe, places: Places) -> Feed:
    """Open what a recipe trains on, as its network is to see it; no array is read.

    Raises
    ------
    ConfigError
        If there is no truth for a loss that needs one, or a setting is wrong.
    FileError
        If there is nothing to train on.
    """
    config = recipe.training
    start = load_initial_method(recipe)
    smoothing = recipe.phase_smoothing
    shown = lambda batches: Demodulated(batches, smoothing) if recipe.demodulate else batches  # noqa: E731
    draw = lambda batches: lambda: _first(batches, config.n_validation)  # noqa: E731
    if places.scans:
        if config.loss != "ssdu":
            hint = "--loss ssdu"
            raise ConfigError(f"loss {config.loss} needs the truth, a scan has none", where="--scan", hint=hint)
        scans = open_scans(
            places.scans, AcquisitionConfig.parse(recipe.preprocessing, where="preprocessing"), recipe.scale
        )
        measured = ScanBatches(scans, config, (config.seed, 1), start=start)
        unseen_samples = replace(measured, seed=(config.seed, 2), validates=True)
        return Feed(
            shown(measured), draw(shown(unseen_samples)), describe_scans(scans), draw_as_measured=draw(unseen_samples)
        )
    seen, unseen = (open_pool(config.data, places.cases, part, places.real) for part in PARTS)
    for pool in (seen, unseen):
        require_fit(pool, config.data, whole_beat=start is not None)
    seeds = (config.seed, 1), (config.seed, 2)
    held_out = Prepared(Batches(unseen, config.data, 1, seeds[1], start), seeds[1], recipe.scale)
    is_ssdu = config.loss == "ssdu"
    drawn: Dataset[Batch] = Batches(seen, config.data, config.batch_size, seeds[0], None if is_ssdu else start)
    kept: Pool | KeptBatches = seen
    if config.data.n_kept:
        drawn = kept = _kept(drawn, recipe, config.data.n_kept, places)
    batches = Prepared(drawn, seeds[0], recipe.scale, config.ssdu if is_ssdu else None, start)
    card = describe_pool(config.data, seen, unseen)
    draws = config.n_steps * config.n_batches * (1 if config.data.n_kept else config.batch_size)
    ahead = lambda: _worth_it(kept.missing(), draws)  # noqa: E731
    return Feed(shown(batches), draw(shown(held_out)), card, ahead, draw(held_out))


def _worth_it(missing: Sequence[Kept], n_draws: int) -> Sequence[Kept]:
    """All that is missing, or nothing where a training is so short that it needs a part of it only."""
    return missing if n_draws >= len(missing) else []


def intake_of(recipe: Recipe) -> dict[str, Any]:
    """The settings of intake that the weights are to carry: those that prepared cases were made by, or the recipe's.

    Raises
    ------
    ConfigError
        If cases were prepared by other settings than the recipe's, or than other cases.
    """
    found: dict[str, Any] | None = dict(recipe.preprocessing) or None
    for name, source in recipe.training.data.sources.items():
        if not isinstance(source, PreparedSource):
            continue
        with open_case(list_cases(source.folder, "train")[0]) as case:
            stored = case.attributes.get("intake", {})
        prepared = {key: stored[key] for key in SETTINGS if stored.get(key, DEFAULTS[key]) != DEFAULTS[key]}
        if found is not None and found != prepared:
            ours, others = (settings or "the defaults" for settings in (prepared, found))
            what = f"the cases of '{name}' were prepared by {ours}, expected is {others}"
            raise ConfigError(
                what, where="preprocessing", hint="prepare all alike, and leave preprocessing out of the recipe"
            )
        found = prepared
    return found or {}


def _kept(drawn: Dataset[Batch], recipe: Recipe, n_different: int, places: Places) -> KeptBatches:
    """Batches in files, in a folder named after all that they depend on."""
    config = recipe.training
    first = "" if recipe.initial_method is None or config.loss == "ssdu" else recipe.initial_method.model_dump_json()
    data = list_data(config.data, places.real) + config.data.model_dump_json(exclude={"n_kept", "n_frames_of_kept"})
    name = name_of(version("cinerecon"), str(EDITION), data, first, f"{config.batch_size} {config.seed}")
    folder, seed = places.cases / name, (config.seed, 3)
    return KeptBatches(drawn, n_different, folder, config.data.n_frames_of_kept, seed)


def _first(batches: Dataset[Batch], n: int) -> list[Batch]:
    return [batches[number] for number in range(n)]


@torch.no_grad()
def reconstruct(net: nn.Module, batch: Batch) -> Tensor:
    """The image ``(batch, frames, y, x)`` of a batch, in full precision."""
    image: Tensor = net(batch.kspace, batch.encoding, start=batch.start)
    return image


def validate(net: nn.Module | None, batches: Sequence[Batch]) -> float:
    """Mean over patches [dB]: PSNR, peak from the target; without truth, samples held back over what of them is missed.

    The more the better, either way. Without a network it is that of the first images.
    """
    images = (first_image(batch) if net is None else reconstruct(net, batch) for batch in batches)
    return _mean_decibels(images, batches)


def validate_method(method: Reconstructor, batches: Sequence[Batch]) -> float:
    """The same for a method in the place of the network."""
    cines = (CineData(batch.kspace, batch.encoding.mask, batch.encoding.csm) for batch in batches)
    return _mean_decibels(map(method, cines), batches)


def _mean_decibels(images: Iterable[Tensor], batches: Sequence[Batch]) -> float:
    return sum(_decibels(image, batch) for image, batch in zip(images, batches, strict=True)) / len(batches)


def _decibels(image: Tensor, batch: Batch) -> float:
    if batch.target is not None:
        power, error = batch.target.abs().max() ** 2, (image - batch.target).abs().square().mean()
    else:
        assert batch.held_back is not None
        expected, encoding = batch.held_back
        missed = encoding.forward(image) - expected
        power, error = expected.abs().square().sum(), missed.abs().square().sum()
    return 10 * math.log10(max(float(power / error), 1e-30)) if error.isfinite() else -math.inf
