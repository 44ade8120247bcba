"""Cases: simulated or prepared cines of one slice, from which patches are cut."""

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
from cinerecon.io.case import OPTIONAL, CaseFile
from cinerecon.methods.normalisation import image_scale
from cinerecon.physics.fourier import ifft1c
from cinerecon.training.data.augment import AugmentConfig, move

Shape = tuple[int, int, int, int]
"""Size (frames, coils, y, x)."""
Frames = NDArray[np.int64]
Window = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a case before undersampling.

    Attributes
    ----------
    coil_images
        ``(frames, coils, y, x)`` complex64, of unit scale (`image_scale` of the whole image).
    csm
        ``(coils, y, x)`` complex64, the coil maps available to a reconstruction; None for one coil.
    """

    coil_images: Tensor
    csm: Tensor | None

    @property
    def target(self) -> Tensor:
        """``(frames, y, x)``, the image of a fully sampled scan, combined with the same coil maps."""
        return self.coil_images[:, 0] if self.csm is None else (self.csm.conj() * self.coil_images).sum(1)


class Case(Protocol):
    """A cine from which patches are cut. Arrays are read on access only."""

    @property
    def shape(self) -> Shape:
        """Size (frames, coils, y, x)."""

    @property
    def is_periodic(self) -> bool:
        """Whether the first frame follows the last one."""

    def motion(self) -> NDArray[np.float64]:
        """Standard deviation of each pixel over time, ``(y, x)``; NaN outside of the measured field of view."""

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Cut frames, rows, columns and coils."""


@dataclass(frozen=True, eq=False)
class SimulatedArrays:
    """A simulated case in memory.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex64, of unit scale.
    csm, csm_estimated
        ``(coils, y, x)`` complex64, the true coil maps, and those estimated from an undersampled, noisy scan.
    outside
        ``(y, x)`` bool, pixels outside the measured field of view, which patches avoid.
    """

    image: Tensor
    csm: Tensor
    csm_estimated: Tensor
    outside: Tensor


@dataclass(frozen=True, eq=False)
class SimulatedCase:
    """A case that is simulated on first access.

    Attributes
    ----------
    shape
        Size (frames, coils, y, x).
    draw
        Simulates the arrays.
    path
        File in the cache; None simulates the case again for each patch.
    """

    shape: Shape
    draw: Callable[[], SimulatedArrays]
    path: Path | None

    @property
    def is_periodic(self) -> bool:
        """Whether the first frame follows the last one."""
        return True

    def is_cached(self) -> bool:
        """Whether the file exists."""
        return self.path is not None and self.path.exists()

    def ensure_cached(self) -> None:
        """Simulate the case and write its file, unless it exists."""
        if self.path is not None and not self.path.exists():
            with moved_into_place(self.path) as temporary:
                save_file({key: to_half(array) for key, array in _simulated_arrays(self).items()}, temporary)

    def motion(self) -> NDArray[np.float64]:
        """Standard deviation of each pixel over time, ``(y, x)``; NaN outside of the measured field of view."""
        motion: NDArray[np.float64] = self._read("motion").double().numpy()
        return motion

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Cut frames, rows, columns and coils; augmentation moves the image, but not the coils."""
        coils = torch.from_numpy(rng.permutation(self.shape[1])[:n_coils])
        if config.has_subpixel_motion:
            image = move(self._read("image")[torch.from_numpy(frames)], config, rng)[(..., *window)]
        else:
            image = self._read("image", window)[torch.from_numpy(frames)]
        if n_coils == 1:
            return Patch(image[:, None], None)
        csm, estimated = (_normalised(self._read(name, window)[coils]) for name in ("csm", "csm_estimated"))
        return Patch(image[:, None] * csm, estimated)

    def _read(self, name: str, window: Window = (slice(None), slice(None))) -> Tensor:
        """Read a window of an array, rounded to half precision as in the file."""
        if self.path is None:
            return _from_file_precision(name, to_half(_simulated_arrays(self)[name][(..., *window)]))
        self.ensure_cached()
        with safe_open(self.path, "pt") as file:
            part = file.get_slice(name)
            n_leading = len(part.get_shape()) - (2 if name == "motion" else 3)
            return _from_file_precision(name, part[(*[slice(None)] * n_leading, *window)])


def _from_file_precision(name: str, half: Tensor) -> Tensor:
    return half.float() if name == "motion" else from_half(half)


@lru_cache(maxsize=1)
def _simulated_arrays(case: SimulatedCase) -> dict[str, Tensor]:
    """Simulate a case; the last case is cached in memory, since its arrays are read one after the other."""
    arrays = case.draw()
    motion = arrays.image.abs().std(0, unbiased=False).masked_fill(arrays.outside, torch.nan)
    return {"image": arrays.image, "csm": arrays.csm, "csm_estimated": arrays.csm_estimated, "motion": motion}


@dataclass(frozen=True)
class PreparedCase:
    """A fully sampled case in a file of `io.case`."""

    shape: Shape
    path: Path
    signal: Literal["measured", "combined"]

    @property
    def is_periodic(self) -> bool:
        """Whether the first frame follows the last one."""
        return _survey(self.path)[2]

    def motion(self) -> NDArray[np.float64]:
        """Standard deviation of each pixel over time, ``(y, x)``."""
        return _survey(self.path)[1]

    def cut(self, frames: Frames, window: Window, n_coils: int, config: AugmentConfig, rng: Generator) -> Patch:
        """Cut frames, rows, columns and coils."""
        scale, *_ = _survey(self.path)
        coils = rng.permutation(self.shape[1])[:n_coils]
        with _opened(self.path) as file:
            if n_coils == 1:
                return Patch(_image(file, frames, window, config, rng)[:, None] / scale, None)
            csm = _normalised(torch.from_numpy(file.csm[:, window[0], window[1]][coils]))
            if self.signal == "combined":
                return Patch(_image(file, frames, window, config, rng)[:, None] / scale * csm, csm)
            return Patch(_coil_images(file, frames, coils, window) / scale, csm)


def _image(file: CaseFile, frames: Frames, window: Window, config: AugmentConfig, rng: Generator) -> Tensor:
    """Read the combined image, ``(frames, y, x)``."""
    if config.has_subpixel_motion:
        return move(torch.from_numpy(file.reference[()][frames]), config, rng)[(..., *window)]
    return torch.from_numpy(file.reference[:, window[0], window[1]][frames])


def _coil_images(file: CaseFile, frames: Frames, coils: NDArray[np.int64], window: Window) -> Tensor:
    """Read measured coil images, ``(frames, coils, y, x)``; each axis is cropped before the next is transformed."""
    first, last = int(frames.min()), int(frames.max()) + 1
    kspace = torch.from_numpy(file.kspace[first:last])[torch.from_numpy(frames - first)][:, torch.from_numpy(coils)]
    columns = ifft1c(kspace, -1)[..., window[1]]
    return ifft1c(columns, -2)[..., window[0], :]


@contextmanager
def _opened(path: Path) -> Iterator[CaseFile]:
    """Open a case. Files remain open in worker processes only, since workers inherit open files of the main process."""
    if get_worker_info() is not None:
        yield _cached_file(path)
    else:
        with CaseFile(path) as file:
            yield file


@lru_cache(maxsize=64)
def _cached_file(path: Path) -> CaseFile:
    return CaseFile(path)


@lru_cache(maxsize=512)
def _survey(path: Path) -> tuple[float, NDArray[np.float64], bool]:
    """Scale of a prepared case, the standard deviation of each pixel over time, and whether the frames are periodic."""
    with _opened(path) as file:
        reference, is_periodic = torch.from_numpy(file.reference[()]), not file.attributes.get(OPTIONAL["is_real_time"])
    return float(image_scale(reference)), reference.abs().std(0, unbiased=False).double().numpy(), is_periodic


def to_half(array: Tensor) -> Tensor:
    """An array as float16, with rounding errors 66 dB below each value; complex values are pairs ``(..., 2)``."""
    return (torch.view_as_real(array) if array.is_complex() else array).half().contiguous()


def from_half(pairs: Tensor) -> Tensor:
    """The complex64 array of pairs of real and imaginary parts ``(..., 2)``."""
    return torch.view_as_complex(pairs.float().contiguous())


def _normalised(csm: Tensor) -> Tensor:
    """Coil maps whose sum of squares is 1."""
    return csm / csm.abs().square().sum(0, keepdim=True).sqrt().clamp(min=1e-6)
