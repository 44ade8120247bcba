"""Undersampled cines with known reference: phantoms, and measured magnitudes with simulated phase, coils and noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phantom, draw_phase

TUNING_ANATOMIES = ("sax_base", "phantom:100", "phantom:101")
"""Anatomies on which weights may be tuned; no table of results contains them."""
HELD_OUT_PHANTOMS = ("phantom:200", "phantom:201")


@dataclass(frozen=True)
class Case:
    """One undersampled cine.

    Attributes
    ----------
    anatomy
        Name of the series, or ``phantom`` and its seed.
    sampling
        Text of the pattern.
    data
        K-space and, in ``reference``, the reference image with a peak of 1.
    """

    anatomy: str
    sampling: str
    data: CineData

    @property
    def key(self) -> tuple[str, int, str]:
        """Key that identifies the case among cases of the same sizes."""
        return self.anatomy, self.data.n_coils, self.sampling

    def __str__(self) -> str:
        return f"{self.anatomy}, {self.data.n_coils} ch, {self.sampling}"


@dataclass(frozen=True)
class Sizes:
    """Settings shared by all cases of a run; the noise of a sample is relative to the peak of the image."""

    frames: int = 16
    matrix: tuple[int, int] = (192, 192)
    noise: float = 0.005
    seed: int = 0


def list_anatomies(series: Path | None) -> list[str]:
    """Anatomies on which nothing is tuned: the series of the folder, and phantoms."""
    names = sorted(path.stem for path in series.glob("*.npz")) if series else []
    return [name for name in names if name not in TUNING_ANATOMIES] + list(HELD_OUT_PHANTOMS)


def make_cases(
    anatomies: Sequence[str],
    coils: Sequence[int],
    samplings: Sequence[str],
    series: Path | None,
    sizes: Sizes,
    maps: str = "true",
) -> Iterator[Case]:
    """Every anatomy, ``phantom:seed`` or a series in the folder, with every number of coils and every sampling."""
    for anatomy in anatomies:
        image = draw_image(anatomy, series, sizes)
        for n_coils in coils:
            for sampling in samplings:
                yield Case(anatomy, sampling, undersample(image, n_coils, sampling, sizes, maps))


def draw_image(anatomy: str, series: Path | None, sizes: Sizes) -> Tensor:
    """The reference ``(frames, y, x)`` with a peak of 1; for measured series, the central part with simulated phase."""
    name, _, seed = anatomy.partition(":")
    if name == "phantom":
        return draw_phantom(int(seed), PhantomConfig(n_frames=sizes.frames, matrix=sizes.matrix))
    if series is None:
        raise ConfigError("this is a measured series", where=anatomy, hint="give its folder with --series")
    magnitude = torch.from_numpy(np.load(series / f"{anatomy}.npz")["magnitude"].astype(np.float32))[: sizes.frames]
    y, x = ((size - wanted) // 2 for size, wanted in zip(magnitude.shape[1:], sizes.matrix, strict=True))
    magnitude = magnitude[:, y : y + sizes.matrix[0], x : x + sizes.matrix[1]]
    return torch.polar(magnitude / magnitude.max(), draw_phase(sizes.seed, len(magnitude), sizes.matrix))


def undersample(image: Tensor, n_coils: int, sampling: str, sizes: Sizes, maps: str = "true") -> CineData:
    """Noisy undersampled k-space of the image, with the true coil maps or maps estimated from this k-space."""
    csm = draw_coil_maps(sizes.seed, n_coils, sizes.matrix) if n_coils > 1 else None
    mask = torch.from_numpy(parse_mask(sampling).draw(len(image), *sizes.matrix, sizes.seed))
    kspace = Encoding(mask, csm, matrix=sizes.matrix).forward(image)
    generator = torch.Generator().manual_seed(sizes.seed)
    kspace = kspace + sizes.noise * mask * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    if csm is not None and maps != "true":
        csm = estimate_csm(kspace, mask, maps)  # type: ignore[arg-type]
    return CineData(kspace, mask, csm, image)
