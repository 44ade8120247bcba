"""Training cases and the patches drawn from them.

A case is a whole cine with coil maps as they are and as an undersampled scan would estimate them; it is made once and
kept in a folder. A patch is a piece of a case, undersampled afresh at each draw. Line masks sample whole readouts, so a
strip that is narrow along x and whole along ky is undersampled as the whole image is, at a fraction of its cost.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.errors import ConfigError, FileError
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.unrolled import image_scale
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.operators import Encoding
from cinerecon.physics.phantom import PhantomConfig, draw_coil_maps, draw_magnitude, draw_phase
from cinerecon.physics.sampling import parse_mask


class CaseConfig(Config):
    """Which cases to make."""

    n_phantoms: int = Field(120, ge=0, description="phantom cines, each from its own seed")
    n_per_series: int = Field(12, ge=0, description="variants of each real series: turned, scaled, with new phase")
    leave_out: tuple[str, ...] = Field((), description="real series never used, by file name without suffix")
    matrix: tuple[int, int] = Field((192, 192), description="image size (y, x)")
    n_coils: int = Field(8, ge=1, description="coils of every case; single-coil patches take the image itself")
    mask: str = Field("gaussian:8", description="sampling from which the coil maps are estimated")
    seed: int = Field(0, description="phantoms have seeds of their own, from 1000 x seed on")


class PatchConfig(Config):
    """How patches are drawn from cases."""

    n_frames: int = Field(12, ge=1, description="consecutive frames of a patch, cyclic")
    frame_steps: tuple[int, ...] = Field((1, 1, 2), description="one of these; 2 shows two beats in as many frames")
    n_windows: int = Field(2, ge=1, description="patches cut from one undersampled strip, one after the other in time")
    ky: tuple[int, ...] = Field((128, 160, 192), description="phase-encode lines, one of these")
    x: int = Field(32, ge=1, description="width along the readout")
    coils: tuple[int, ...] = Field((1, 8), description="coils used, one of these")
    masks: tuple[str, ...] = Field(("gaussian:8",), description="sampling, one of these")
    noise: tuple[float, float] = Field((0.002, 0.06), description="noise of a sample, image of unit scale, log-uniform")
    noise_free: float = Field(0.25, ge=0, le=1, description="share of patches without noise")
    gamma: tuple[float, float] = Field((0.8, 1.25), description="exponent of the magnitude, uniform")
    scale: tuple[float, float] = Field((0.8, 1.25), description="scale of the image, log-uniform")


@dataclass(frozen=True, eq=False)
class Case:
    """A whole cine, ready to be cut and undersampled.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex64, of unit scale (`image_scale`).
    csm, csm_estimated
        ``(coils, y, x)`` complex64, the true maps and those estimated from an undersampled, noisy scan.
    """

    image: Tensor
    csm: Tensor
    csm_estimated: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """What one training step needs; axes as in `CineData`, with a batch axis in front.

    Attributes
    ----------
    kspace, encoding
        What was measured, and how.
    target
        ``(batch, frames, y, x)``, what a fully sampled scan would show under the same coil maps.
    start
        ``(batch, frames, y, x)``, the image the network starts from, where a method makes it.
    """

    kspace: Tensor
    encoding: Encoding
    target: Tensor
    start: Tensor | None = None


def make_cases(folder: Path, config: CaseConfig, real: Path | None = None) -> list[Path]:
    """Make the cases that a folder lacks, one file each, and list all.

    Parameters
    ----------
    folder
        Where the cases are kept.
    config
        Which cases.
    real
        Folder of real magnitude cines: ``.npz`` with ``magnitude`` (frames, rows, columns).

    Raises
    ------
    FileError
        If there is neither a phantom nor a real series to make cases of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = [p for p in sorted(real.glob("*.npz")) if p.stem not in config.leave_out] if real else []
    names = [f"{p.stem}-{n}" for n in range(config.n_per_series) for p in series]
    names += [f"phantom-{n}" for n in range(config.n_phantoms)]
    if not names:
        raise FileError("no phantoms and no real series to train on", where=str(real or folder))
    for number, name in enumerate(names):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            rng = np.random.default_rng([config.seed, number])
            kind, index = name.rsplit("-", 1)
            if kind == "phantom":
                magnitude = draw_magnitude(1000 * (config.seed + 1) + int(index), PhantomConfig(matrix=config.matrix))
            else:
                magnitude = _vary(_read_magnitude(real / f"{kind}.npz"), config.matrix, rng)  # type: ignore[operator]
            case = _finish_case(magnitude, config, rng)
            part = path.with_suffix(".part")
            save_file({name: getattr(case, name).contiguous() for name in ("image", "csm", "csm_estimated")}, part)
            part.rename(path)
    return [folder / f"{name}.safetensors" for name in names]


def load_cases(paths: Iterable[Path]) -> list[Case]:
    """Read cases into memory."""
    return [Case(**load_file(path)) for path in paths]


def _read_magnitude(path: Path) -> Tensor:
    magnitude = torch.from_numpy(np.load(path)["magnitude"].astype(np.float32))
    return magnitude / magnitude.max()


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


def _finish_case(magnitude: Tensor, config: CaseConfig, rng: Generator) -> Case:
    """Add phase and coils, and estimate the coil maps as an undersampled scan would have to."""
    phase = draw_phase(rng, len(magnitude), config.matrix)
    image = torch.polar(magnitude, phase)
    image = image / image_scale(image)
    csm = draw_coil_maps(rng, config.n_coils, config.matrix)
    mask = parse_mask(config.mask).draw(len(image), *config.matrix, seed=rng)
    kspace = Encoding(mask, csm).forward(image)
    noisy = kspace + 10 ** rng.uniform(-3.5, -1.3) * _noise(rng, kspace.shape) * mask
    estimated = estimate_csm(noisy, mask)
    return Case(image, csm, csm if estimated is None else estimated)


def _noise(rng: Generator, shape: torch.Size) -> Tensor:
    """Complex Gaussian noise of unit variance."""
    parts = torch.from_numpy(rng.standard_normal((*shape, 2), dtype=np.float32))
    return torch.view_as_complex(parts) / 2**0.5


def draw_batch(
    cases: list[Case], config: PatchConfig, size: int, rng: Generator, start: Reconstructor | None = None
) -> Batch:
    """Draw strips of equal size, coils and sampling pattern, each with noise and masks of its own, and cut patches.

    Parameters
    ----------
    cases
        Where patches are cut from.
    config
        How.
    size
        Strips in the batch, each from a case; each gives `n_windows` patches.
    rng
        All that is random.
    start
        The method that makes the first image; it sees all frames of a case, as it will in use.
    """
    ky = int(rng.choice(config.ky))
    n_coils = int(rng.choice(config.coils))
    spec = parse_mask(str(rng.choice(config.masks)))
    patches = [_draw_patch(cases[rng.integers(len(cases))], config, ky, rng) for _ in range(size)]
    csm, estimated, target = _pick_coils(patches, n_coils, rng)
    mask = torch.stack([spec.draw(target.shape[1], ky, config.x, seed=rng) for _ in range(size)])
    image = torch.stack([patch.image for patch in patches])
    clean = Encoding(mask, csm, matrix=(ky, config.x)).forward(image)
    low, high = np.log(config.noise)
    sigma = np.exp(rng.uniform(low, high, size)) * (rng.random(size) >= config.noise_free)
    noise = torch.from_numpy(sigma.astype(np.float32)).view(-1, 1, 1, 1, 1) * _noise(rng, clean.shape)
    kspace = clean + noise * mask
    first = None if start is None else _windows(start(CineData(kspace, mask, estimated)), config)
    if estimated is not None:
        estimated = estimated.repeat_interleave(config.n_windows, 0)
    encoding = Encoding(_windows(mask, config), estimated, matrix=(ky, config.x))
    return Batch(_windows(kspace, config), encoding, _windows(target, config), first)


def _windows(series: Tensor, config: PatchConfig) -> Tensor:
    """Cut ``(batch, frames, ...)`` into consecutive windows, ``(batch * n_windows, n_frames, ...)``."""
    used = config.n_windows * config.n_frames
    if series.shape[1] < used:
        what = f"{config.n_windows} windows of {config.n_frames} frames do not fit into {series.shape[1]}"
        raise ConfigError(what, where="training.patches")
    return series[:, :used].reshape(-1, config.n_frames, *series.shape[2:])


def _pick_coils(patches: list[Case], n_coils: int, rng: Generator) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Maps that weight, maps that combine, and what a fully sampled scan combined by the latter would show."""
    image = torch.stack([patch.image for patch in patches])
    if n_coils == 1:
        return None, None, image
    coils = torch.from_numpy(rng.permutation(len(patches[0].csm))[:n_coils])
    csm, estimated = (torch.stack([getattr(p, name)[coils] for p in patches]) for name in ("csm", "csm_estimated"))
    csm = csm / csm.abs().square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)
    estimated = estimated / estimated.abs().square().sum(1, keepdim=True).sqrt().clamp(min=1e-6)
    target = image * (estimated.conj() * csm).sum(1, keepdim=True)
    return csm, estimated, target


def _draw_patch(case: Case, config: PatchConfig, ky: int, rng: Generator) -> Case:
    """Cut a strip around what moves; vary first frame, speed, direction, contrast and scale."""
    n_frames = len(case.image)
    frames = rng.integers(n_frames) + rng.choice(config.frame_steps) * np.arange(n_frames)
    image = case.image[torch.from_numpy(frames % n_frames)]
    motion = image.abs().std(0).sum(0).double().numpy()
    weight = np.convolve(motion, np.ones(config.x), mode="valid")
    weight = weight / weight.sum() + 1 / len(weight)
    left = int(rng.choice(len(weight), p=weight / weight.sum()))
    top = int(rng.integers(image.shape[-2] - ky + 1))
    window = (..., slice(top, top + ky), slice(left, left + config.x))
    image = image[window]
    gamma, scale = rng.uniform(*config.gamma), np.exp(rng.uniform(*np.log(config.scale)))
    image = float(scale) * image * image.abs().clamp(min=1e-6).pow(float(gamma) - 1)
    flips = [axis for axis in (-1, -2) if rng.random() < 0.5]
    patch = Case(image, case.csm[window], case.csm_estimated[window])
    patch = replace(patch, **{name: getattr(patch, name).flip(flips) for name in ("image", "csm", "csm_estimated")})
    return replace(patch, image=patch.image.flip(0)) if rng.random() < 0.5 else patch
