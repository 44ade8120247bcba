"""Cases simulated from a phantom or a measured magnitude, with simulated phase, coils and estimated coil maps."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from cinerecon.cine import as_tensor
from cinerecon.methods.normalisation import image_scale
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.noise import white_noise
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.physics.views import time_average
from cinerecon.simulation.phantom import PhantomConfig, add_phase, draw_coil_maps, draw_signal
from cinerecon.training.data.case import Shape, SimulatedArrays, SimulatedCase
from cinerecon.training.data.config import PhantomSource, SeriesSource, SimulatedSource
from cinerecon.training.data.deform import deform
from cinerecon.training.data.series import Series

SIMULATION_VERSION = 3
"""Incremented when the way in which cases are drawn changes, so that older cached files are not used."""


@dataclass(frozen=True)
class SimulatedCases(Sequence[SimulatedCase]):
    """Simulated cases of one size, each simulated on access.

    Attributes
    ----------
    draw
        Draws the case of a number.
    shape
        Size (frames, coils, y, x) of each case.
    n_cases
        Number of cases.
    folder
        Folder of the cache; None disables caching.
    """

    draw: Callable[[int], SimulatedArrays]
    shape: Shape
    n_cases: int
    folder: Path | None

    def __len__(self) -> int:
        """Number of cases."""
        return self.n_cases

    def __getitem__(self, number: int) -> SimulatedCase:  # type: ignore[override]
        """The case of a number."""
        if not 0 <= number < self.n_cases:
            raise IndexError(number)
        path = None if self.folder is None else self.folder / f"{number}.safetensors"
        return SimulatedCase(self.shape, partial(self.draw, number), path)


def phantom_cases(source: PhantomSource, cache: Path) -> SimulatedCases:
    """The phantoms of a source; cached ones are in a folder of `cache` named by a checksum of their settings."""
    n_frames = PhantomConfig().n_frames
    folder = _folder(cache, "phantom", source, {"weight", "n_cases", "keep"}) if source.keep else None
    shape = (n_frames, source.n_coils, *source.matrix)
    return SimulatedCases(partial(_draw_phantom, source), shape, source.n_cases, folder)


def series_cases(series: Series, source: SeriesSource, cache: Path) -> SimulatedCases:
    """The variants of one measured series."""
    excluded = {"weight", "n_variants", "folder", "leave_out", "validation", "reserved"}
    folder = _folder(cache, series.name, source, excluded, series.sha256)
    shape = (series.n_frames, source.n_coils, *source.matrix)
    return SimulatedCases(partial(_draw_variant, series, source), shape, source.n_variants, folder)


def _folder(cache: Path, name: str, source: SimulatedSource, excluded: set[str], content: str = "") -> Path:
    """The folder for cases, which depend on the content of files and on all settings of a source except `excluded`."""
    settings = json.dumps(
        [SIMULATION_VERSION, source.model_dump(mode="json", exclude=excluded), *([content] * bool(content))]
    )
    return cache / f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def _draw_phantom(source: PhantomSource, number: int) -> SimulatedArrays:
    rng = np.random.default_rng([source.seed, 0, number])
    signal = draw_signal(int(rng.integers(2**31)), PhantomConfig(matrix=source.matrix))
    return _simulate(signal, torch.zeros(source.matrix, dtype=torch.bool), source, rng)


def _draw_variant(series: Series, source: SeriesSource, number: int) -> SimulatedArrays:
    name = int.from_bytes(hashlib.sha256(series.name.encode()).digest()[:4], "little")
    rng = np.random.default_rng([source.seed, 1, name, number])
    magnitude = torch.from_numpy(series.read())
    return _simulate(*deform(magnitude, source.matrix, rng, source.deform), source, rng)


def _simulate(signal: Tensor, outside: Tensor, source: SimulatedSource, rng: Generator) -> SimulatedArrays:
    """Add phase and coils, and estimate the coil maps as for an undersampled scan."""
    image = add_phase(signal, rng, source.phase)
    image = image / image_scale(image)
    if source.n_coils == 1:
        csm = torch.ones(1, *source.matrix, dtype=torch.complex64)
        return SimulatedArrays(image, csm, csm, outside)
    csm = draw_coil_maps(rng, source.n_coils, source.matrix)
    mask = as_tensor(parse_mask(source.mask).draw(len(image), *source.matrix, seed=rng))
    average = time_average(Encoding(mask, csm).forward(image), mask)
    n_samples = mask.sum(-4)
    noise = 10 ** rng.uniform(-3.5, -1.3) * white_noise(rng, tuple(average.shape)) / n_samples.clamp(min=1).sqrt()
    estimated = estimate_csm((average + noise * (n_samples > 0))[None], (n_samples > 0)[None])
    return SimulatedArrays(image, csm, csm if estimated is None else estimated, outside)
