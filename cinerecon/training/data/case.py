"""A case: one cine of one slice, from which patches are cut."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import get_worker_info

from cinerecon.io.atomic import moved_into_place
from cinerecon.io.case import CaseFile, open_case
from cinerecon.methods.normalisation import image_scale
from cinerecon.physics.fourier import ifft1c
from cinerecon.training.data.augment import AugmentConfig, move
from cinerecon.training.data.half import complex_of, to_half

Shape = tuple[int, int, int, int]
"""Sizes (frames, coils, y, x)."""
Frames = NDArray[np.int64]
Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Patch:
    """A piece of a case, before it is sampled.

    Attributes
    ----------
    coil_images
        ``(frames, coils, y, x)`` complex64, of unit scale (`image_scale` of the whole image).
    csm
        ``(coils, y, x)`` complex64, the maps a reconstruction would have; None for one coil.
    """

    coil_images: Tensor
    csm: Tensor | None

    @property
    def target(self) -> Tensor:
        """``(frames, y, x)``, what a fully sampled scan would show under the same maps."""
        return self.coil_images[:, 0] if self.csm is None else (self.csm.conj() * self.coil_images).sum(1)


class Case(Protocol):
    """A cine to cut patches from. Nothing is read before it is asked for."""

    @property
    def shape(self) -> Shape:
        """Sizes (frames, coils, y, x)."""

    def motion(self) -> NDArray[np.float64]:
        """How much each pixel changes over time, ``(y, x)``; NaN where nothing was measured."""

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Take some frames, rows, columns and coils."""


@dataclass(frozen=True, eq=False)
class SimulatedArrays:
    """A simulated case in memory.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex64, of unit scale.
    csm, csm_estimated
        ``(coils, y, x)`` complex64, the true maps and those estimated from an undersampled, noisy scan.
    outside
        ``(y, x)`` bool, where nothing was measured; patches keep clear of it.
    """

    image: Tensor
    csm: Tensor
    csm_estimated: Tensor
    outside: Tensor


@dataclass(frozen=True, eq=False)
class SimulatedCase:
    """A case that is drawn when it is first needed, and kept in a file if there is one to keep it in."""

    shape: Shape
    draw: Callable[[], SimulatedArrays]
    path: Path | None

    def is_ready(self) -> bool:
        """Whether nothing needs to be simulated to cut from it."""
        return self.path is not None and self.path.exists()

    def make_ready(self) -> None:
        """Simulate the case and keep it, if that has not been done."""
        if self.path is not None and not self.path.exists():
            with moved_into_place(self.path) as temporary:
                save_file({key: to_half(array) for key, array in _drawn(self).items()}, temporary)

    def motion(self) -> NDArray[np.float64]:
        """How much each pixel changes over time, ``(y, x)``; NaN where nothing was measured."""
        motion: NDArray[np.float64] = self._read("motion").double().numpy()
        return motion

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Take some frames, rows, columns and coils; the image is moved under coils that stay where they are."""
        coils = torch.from_numpy(rng.permutation(self.shape[1])[:n_coils])
        if config.moves:
            image = move(self._read("image")[torch.from_numpy(frames)], config, rng)[(..., *window)]
        else:
            image = self._read("image", window)[torch.from_numpy(frames)]
        if n_coils == 1:
            return Patch(image[:, None], None)
        csm, estimated = (_of_unit_norm(self._read(name, window)[coils]) for name in ("csm", "csm_estimated"))
        return Patch(image[:, None] * csm, estimated)

    def _read(self, name: str, window: Window = (slice(None), slice(None))) -> Tensor:
        """An array, or the part of it in a window, as it is kept: rounded to half precision."""
        if self.path is None:
            return _restored(name, to_half(_drawn(self)[name][(..., *window)]))
        self.make_ready()
        with safe_open(self.path, "pt") as file:
            part = file.get_slice(name)
            n_leading = len(part.get_shape()) - (2 if name == "motion" else 3)
            return _restored(name, part[(*[slice(None)] * n_leading, *window)])


def _restored(name: str, half: Tensor) -> Tensor:
    return half.float() if name == "motion" else complex_of(half)


@lru_cache(maxsize=1)
def _drawn(case: SimulatedCase) -> dict[str, Tensor]:
    """Draw a case; the last one is remembered, as its arrays are asked for one by one."""
    arrays = case.draw()
    motion = arrays.image.abs().std(0, unbiased=False).masked_fill(arrays.outside, torch.nan)
    return {"image": arrays.image, "csm": arrays.csm, "csm_estimated": arrays.csm_estimated, "motion": motion}


@dataclass(frozen=True)
class PreparedCase:
    """A case in a file of `io.case`, fully sampled."""

    shape: Shape
    path: Path
    signal: Literal["measured", "combined"]

    def motion(self) -> NDArray[np.float64]:
        """How much each pixel changes over time, ``(y, x)``."""
        return _survey(self.path)[1]

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Take some frames, rows, columns and coils."""
        scale, _ = _survey(self.path)
        coils = rng.permutation(self.shape[1])[:n_coils]
        with _opened(self.path) as file:
            if n_coils == 1:
                return Patch(_image(file, frames, window, config, rng)[:, None] / scale, None)
            csm = _of_unit_norm(torch.from_numpy(file.csm[:, window[0], window[1]][coils]))
            if self.signal == "combined":
                return Patch(_image(file, frames, window, config, rng)[:, None] / scale * csm, csm)
            return Patch(_coil_images(file, frames, coils, window) / scale, csm)


def _image(file: CaseFile, frames: Frames, window: Window, config: AugmentConfig, rng: Generator) -> Tensor:
    """The combined image, ``(frames, y, x)``."""
    if config.moves:
        return move(torch.from_numpy(file.reference[()][frames]), config, rng)[(..., *window)]
    return torch.from_numpy(file.reference[:, window[0], window[1]][frames])


def _coil_images(file: CaseFile, frames: Frames, coils: NDArray[np.int64], window: Window) -> Tensor:
    """Coil images as measured, ``(frames, coils, y, x)``; each axis is cut before the next is transformed."""
    first, last = int(frames.min()), int(frames.max()) + 1
    kspace = torch.from_numpy(file.kspace[first:last])[torch.from_numpy(frames - first)][:, torch.from_numpy(coils)]
    columns = ifft1c(kspace, -1)[..., window[1]]
    return ifft1c(columns, -2)[..., window[0], :]


@contextmanager
def _opened(path: Path) -> Iterator[CaseFile]:
    """An open case. Worker processes keep theirs open; the main process, whose files they would inherit, does not."""
    if get_worker_info() is not None:
        yield _kept_open(path)
    else:
        with open_case(path) as file:
            yield file


@lru_cache(maxsize=64)
def _kept_open(path: Path) -> CaseFile:
    return open_case(path)


@lru_cache(maxsize=512)
def _survey(path: Path) -> tuple[float, NDArray[np.float64]]:
    """Scale of a prepared case, and how much each pixel changes over time."""
    with _opened(path) as file:
        reference = torch.from_numpy(file.reference[()])
    return float(image_scale(reference)), reference.abs().std(0, unbiased=False).double().numpy()


def _of_unit_norm(csm: Tensor) -> Tensor:
    return csm / csm.abs().square().sum(0, keepdim=True).sqrt().clamp(min=1e-6)
