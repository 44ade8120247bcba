"""Undersampled cines of known truth: phantoms, and measured magnitudes under simulated phase, coils and noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phantom, draw_phase

TUNED_ON = ("sax_base", "phantom:100", "phantom:101")
"""Anatomies that weights may be tuned on; they are in no table of results."""
HELD_OUT_PHANTOMS = ("phantom:200", "phantom:201")


@dataclass(frozen=True)
class Case:
    """One cine, undersampled one way.

    Attributes
    ----------
    anatomy
        Name of the series, or ``phantom`` and its seed.
    sampling
        Text of the pattern.
    data
        With the truth, of peak 1, in ``reference``.
    """

    anatomy: str
    sampling: str
    data: CineData

    @property
    def key(self) -> tuple[str, int, str]:
        """Identifies the case among those of the same sizes."""
        return self.anatomy, self.data.n_coils, self.sampling

    def __str__(self) -> str:
        return f"{self.anatomy}, {self.data.n_coils} ch, {self.sampling}"


@dataclass(frozen=True)
class Sizes:
    """What all cases of a run have in common; noise is that of a sample over the peak of the image."""

    frames: int = 16
    matrix: tuple[int, int] = (192, 192)
    noise: float = 0.005
    seed: int = 0


def list_anatomies(real: Path | None) -> list[str]:
    """Those that nothing is tuned on: the series of the folder, and phantoms."""
    series = sorted(path.stem for path in real.glob("*.npz")) if real else []
    return [name for name in series if name not in TUNED_ON] + list(HELD_OUT_PHANTOMS)


def make_cases(
    anatomies: list[str], coils: list[int], samplings: list[str], real: Path | None, sizes: Sizes, maps: str = "true"
) -> Iterator[Case]:
    """Every anatomy, ``phantom:seed`` or a series in the folder, with every count of coils and every sampling."""
    for anatomy in anatomies:
        image = draw_image(anatomy, real, sizes)
        for n_coils in coils:
            for sampling in samplings:
                yield Case(anatomy, sampling, undersample(image, n_coils, sampling, sizes, maps))


def draw_image(anatomy: str, real: Path | None, sizes: Sizes) -> Tensor:
    """The truth ``(frames, y, x)``, of peak 1."""
    name, _, seed = anatomy.partition(":")
    if name == "phantom":
        return draw_phantom(int(seed), PhantomConfig(n_frames=sizes.frames, matrix=sizes.matrix))
    if real is None:
        raise SystemExit(f"'{anatomy}' is a measured series: give its folder by --series")
    magnitude = torch.from_numpy(np.load(real / f"{anatomy}.npz")["magnitude"].astype(np.float32))[: sizes.frames]
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
