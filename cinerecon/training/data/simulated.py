"""Cases made of a phantom, or of a measured magnitude; phase, coils and their estimate are simulated."""

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
from torch.nn import functional

from cinerecon.io.magnitude import open_archive
from cinerecon.methods.scale import image_scale
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phase, draw_signal
from cinerecon.training.data.case import Shape, SimulatedArrays, SimulatedCase
from cinerecon.training.data.config import PhantomSource, SeriesSource, SimulatedSource

EDITION = 2
"""Counted up when cases are drawn in another way, so that older files are not taken for them."""
OPPOSED = 0.3
"""Share of measured series whose bright tissue is given the opposite sign; of the phantoms it is as large."""


@dataclass(frozen=True)
class SimulatedCases(Sequence[SimulatedCase]):
    """Simulated cases of one size, made when they are asked for.

    Attributes
    ----------
    draw
        Draws the case of a number.
    shape
        Sizes (frames, coils, y, x) of each.
    n_cases
        How many there are.
    folder
        Where each is kept once it is drawn; None keeps none.
    """

    draw: Callable[[int], SimulatedArrays]
    shape: Shape
    n_cases: int
    folder: Path | None

    def __len__(self) -> int:
        """How many there are."""
        return self.n_cases

    def __getitem__(self, number: int) -> SimulatedCase:  # type: ignore[override]
        """The case of a number."""
        if not 0 <= number < self.n_cases:
            raise IndexError(number)
        path = None if self.folder is None else self.folder / f"{number}.safetensors"
        return SimulatedCase(self.shape, partial(self.draw, number), path)


def phantom_cases(source: PhantomSource, cache: Path) -> SimulatedCases:
    """The phantoms of a source; those kept lie in a folder of `cache` named after what they depend on."""
    n_frames = PhantomConfig().n_frames
    folder = _folder(cache, "phantom", source, {"weight", "n_cases", "keep"}) if source.keep else None
    shape = (n_frames, source.n_coils, *source.matrix)
    return SimulatedCases(partial(_draw_phantom, source), shape, source.n_cases, folder)


def series_cases(path: Path, source: SeriesSource, cache: Path) -> SimulatedCases:
    """The variants of one measured series.

    Raises
    ------
    FileError, DataError
        If the series cannot be read.
    """
    n_frames = len(open_archive(path).read_slice(0)[0])
    folder = _folder(cache, path.stem, source, {"weight", "n_variants", "folder", "leave_out"})
    shape = (n_frames, source.n_coils, *source.matrix)
    return SimulatedCases(partial(_draw_variant, path, source), shape, source.n_variants, folder)


def _folder(cache: Path, name: str, source: SimulatedSource, free: set[str]) -> Path:
    """A folder for cases that depend on the settings of a source, without those that are free."""
    settings = json.dumps([EDITION, source.model_dump(mode="json", exclude=free)])
    return cache / f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"


def _draw_phantom(source: PhantomSource, number: int) -> SimulatedArrays:
    rng = np.random.default_rng([source.seed, 0, number])
    return _simulate(draw_signal(int(rng.integers(2**31)), PhantomConfig(matrix=source.matrix)), source, rng)


def _draw_variant(path: Path, source: SeriesSource, number: int) -> SimulatedArrays:
    name = int.from_bytes(hashlib.sha256(path.stem.encode()).digest()[:4], "little")
    rng = np.random.default_rng([source.seed, 1, name, number])
    magnitude = torch.from_numpy(open_archive(path).read_slice(0)[0])
    varied = _vary(magnitude, source.matrix, rng)
    return _simulate(opposed(varied, rng) if rng.random() < OPPOSED else varied, source, rng)


def _vary(magnitude: Tensor, matrix: tuple[int, int], rng: Generator) -> Tensor:
    """Turn, scale, shift and flip a real series onto a matrix; outside it there is air, ``(frames, y, x)``."""
    if rng.random() < 0.5:
        magnitude = magnitude.mT
    angle, zoom = rng.normal(0, 0.25), np.exp(rng.uniform(-0.2, 0.25))
    shift = rng.uniform(-0.08, 0.08, 2)
    rows, columns = (2 * (torch.arange(n) + 0.5 - n / 2) for n in matrix)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    turned = (
        (np.cos(angle) * x - np.sin(angle) * y) * zoom / magnitude.shape[-1] + shift[0],
        (np.sin(angle) * x + np.cos(angle) * y) * zoom / magnitude.shape[-2] + shift[1],
    )
    grid = torch.stack(turned, -1).float()[None]
    varied = functional.grid_sample(magnitude[None], grid, mode="bicubic", align_corners=False)[0].clamp(min=0)
    return varied.flip(-1) if rng.random() < 0.5 else varied


def opposed(magnitude: Tensor, rng: Generator) -> Tensor:
    """Turn the sign of what is bright, with dark lines around it, as fat's is turned in balanced SSFP.

    What is fat, a magnitude does not tell; what matters is that the sign changes at borders that move with the heart.
    """
    level = rng.uniform(0.3, 0.8) * float(image_scale(magnitude))
    above = functional.avg_pool2d(magnitude[None], 3, stride=1, padding=1)[0] - level
    return -magnitude * torch.tanh(above / (0.15 * level))


def _simulate(signal: Tensor, source: SimulatedSource, rng: Generator) -> SimulatedArrays:
    """Add phase and coils, and estimate the coil maps as an undersampled scan would have to."""
    phase = draw_phase(rng, len(signal), source.matrix)
    image = torch.polar(torch.ones_like(phase), phase) * signal
    image = image / image_scale(image)
    csm = draw_coil_maps(rng, source.n_coils, source.matrix)
    mask = parse_mask(source.mask).draw(len(image), *source.matrix, seed=rng)
    noise = 10 ** rng.uniform(-3.5, -1.3) * white_noise(rng, (len(image), *csm.shape))
    kspace = Encoding(mask, csm).forward(image) + noise * mask
    estimated = estimate_csm(kspace, mask)
    return SimulatedArrays(image, csm, csm.clone() if estimated is None else estimated)


def white_noise(rng: Generator, shape: tuple[int, ...]) -> Tensor:
    """Complex Gaussian noise of unit variance."""
    parts = torch.from_numpy(rng.standard_normal((*shape, 2), dtype=np.float32))
    return torch.view_as_complex(parts) / 2**0.5
