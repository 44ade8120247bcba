"""A small beating cine, and fixtures that apply to all tests."""

import signal
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path

import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.operators import Encoding
from cinerecon.simulation import slices
from cinerecon.simulation.phantom import PhantomConfig, draw_slice
from cinerecon.simulation.phantom.plane import Plane

NUMBERS = count()
"""Numbers of the tests."""


def beating_cine(n_frames: int = 8, matrix: tuple[int, int] = (24, 21)) -> torch.Tensor:
    """A body with a ring that contracts and a spot that does not, ``(frames, y, x)`` complex128, max|x| = 1."""
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in matrix)
    y, x = torch.meshgrid(y, x, indexing="ij")
    time = torch.arange(n_frames, dtype=torch.float64)[:, None, None] / n_frames
    inner = 0.18 + 0.10 * torch.cos(2 * torch.pi * time)
    distance = ((y + 0.1) ** 2 + (x - 0.15) ** 2).sqrt()
    body = 0.35 * _disc((y**2 + (1.1 * x) ** 2).sqrt(), 0.85)
    heart = 0.3 * _disc(distance, inner + 0.2) + 0.35 * _disc(distance, inner)
    spot = 0.25 * _disc(((y - 0.5) ** 2 + (x + 0.4) ** 2).sqrt(), 0.15)
    image = (body + heart + spot) * torch.polar(torch.ones_like(x), 0.6 * x - 0.4 * y * y)
    return image / image.abs().max()


def coil_maps(n_coils: int, matrix: tuple[int, int]) -> torch.Tensor:
    """Smooth maps of coils around the body, ``(coils, y, x)`` complex128 with unit sum of squares."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in matrix), indexing="ij")
    angle = 2 * torch.pi * torch.arange(n_coils, dtype=torch.float64)[:, None, None] / n_coils + 0.3
    distance = (y - 1.2 * angle.sin()) ** 2 + (x - 1.2 * angle.cos()) ** 2 + 0.2
    maps = torch.polar(1 / distance, angle + 0.7 * x * angle.cos())
    return maps / torch.linalg.vector_norm(maps, dim=0)


def line_mask(n_frames: int, n_lines: int, per_frame: int, seed: int) -> torch.Tensor:
    """The two central ky lines, and random lines in each frame, ``(frames, 1, ky, 1)`` bool."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.exp(-0.5 * ((torch.arange(n_lines) - n_lines // 2) / (n_lines / 6)) ** 2) + 0.05
    drawn = [torch.multinomial(density, per_frame, generator=generator) for _ in range(n_frames)]
    mask = torch.zeros(n_frames, n_lines, dtype=torch.bool).scatter_(1, torch.stack(drawn), True)
    mask[:, n_lines // 2 - 1 : n_lines // 2 + 1] = True
    return mask[:, None, :, None]


@pytest.fixture(autouse=True)
def imported_models(tmp_path_factory, monkeypatch) -> Path:
    """A folder of imported models for each test, which does not exist yet, so that those of the user have no effect."""
    folder = tmp_path_factory.getbasetemp() / f"imported_models_{next(NUMBERS)}"
    monkeypatch.setenv("CINERECON_MODELS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def single_precision(monkeypatch) -> None:
    """Networks compute in float32 on every processor, so that tests do not depend on the machine."""
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: False)


@lru_cache(maxsize=300)
def _drawn_slice(seed: int, config: str, offset_mm: float) -> tuple[torch.Tensor, Plane]:
    return draw_slice(seed, PhantomConfig.model_validate_json(config), offset_mm)


@pytest.fixture(scope="session", autouse=True)
def _phantoms_are_drawn_once():
    """Simulated scans of equal seed and size have the same phantom, which is drawn once by each test process."""

    def draw(seed: int, config: PhantomConfig, offset_mm: float) -> tuple[torch.Tensor, Plane]:
        image, plane = _drawn_slice(seed, config.model_dump_json(), offset_mm)
        return image.clone(), plane

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "draw_slice", draw)
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptions_are_not_ignored():
    """Processes of tests react to Ctrl-C, also if the tests run in the background of a shell, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_cine() -> Callable[..., CineData]:
    """Make a small undersampled cine with its truth in ``reference``."""

    def make(
        n_coils: int = 4,
        n_frames: int = 8,
        matrix: tuple[int, int] = (24, 21),
        per_frame: int | None = 6,
        seed: int = 0,
        dtype: torch.dtype = torch.complex64,
    ) -> CineData:
        image = beating_cine(n_frames, matrix)
        csm = coil_maps(n_coils, matrix) if n_coils > 1 else None
        mask = line_mask(n_frames, matrix[0], per_frame or matrix[0], seed)
        kspace = Encoding(mask, csm, matrix=matrix, dtype=torch.complex128).forward(image)
        return CineData(kspace.to(dtype), mask, None if csm is None else csm.to(dtype), image.to(dtype))

    return make


def _disc(distance: torch.Tensor, radius: torch.Tensor | float) -> torch.Tensor:
    return torch.sigmoid((radius - distance) / 0.04)


@pytest.fixture(autouse=True)
def _unknown_terminal_width(monkeypatch):
    """Output is as in a pipe, even if the environment defines the width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
