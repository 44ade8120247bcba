"""Batches of patches cut from cases of equal size, each with its own sampling pattern, noise and augmentation.

Line masks sample whole readouts. A patch that is narrow along x but complete along ky is therefore undersampled in the
same way as the whole image, at a fraction of the computation. The random numbers of a batch follow from a seed and the
number of the batch: a batch does not depend on preceding batches, on the process or on the number of threads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cinerecon.cine import CineData, as_tensor
from cinerecon.errors import DataError
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.noise import white_noise
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import MaskSpec, Sampling, parse_sampling
from cinerecon.training.data.augment import cyclic_frames, draw_gain, flip, rotate_by_90
from cinerecon.training.data.case import Case, Patch, Shape
from cinerecon.training.data.config import DataConfig, T, parse_crop
from cinerecon.training.data.pool import CasePool
from cinerecon.training.data.workers import one_thread


@dataclass(frozen=True, eq=False)
class Batch:
    """Data of one training step; axes as in `CineData`, preceded by a batch axis.

    Attributes
    ----------
    kspace, encoding
        Measured data, and the encoding operator.
    target
        ``(batch, frames, y, x)``, image of a fully sampled scan combined with the same coil maps; None if unknown.
    initial_image
        ``(batch, frames, y, x)``, image that the network starts from; None means the zero-filled image.
    loss_samples
        Samples that are withheld from the network and used for its loss, and their encoding operator.
    noise
        ``(batch,)``, standard deviation of the complex noise of a sample, in the units of `kspace`; None if unknown.
    """

    kspace: Tensor
    encoding: Encoding
    target: Tensor | None
    initial_image: Tensor | None = None
    loss_samples: tuple[Tensor, Encoding] | None = None
    noise: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """Copy the batch to another device."""
        samples = self.loss_samples
        return self.with_images(
            lambda image: image.to(device),
            kspace=self.kspace.to(device),
            encoding=self.encoding.to(device),
            loss_samples=samples and (samples[0].to(device), samples[1].to(device)),
            noise=None if self.noise is None else self.noise.to(device),
        )

    def with_images(self, change: Callable[[Tensor], Tensor], **others: Any) -> Self:
        """The batch with the same change applied to all its images, and with other attributes replaced."""
        images = {"target": self.target, "initial_image": self.initial_image}
        others |= {name: change(image) for name, image in images.items() if image is not None}
        return replace(self, **others)


@dataclass(frozen=True, eq=False)
class Batches(Dataset[Batch]):
    """An endless sequence of batches, each drawn on access.

    Attributes
    ----------
    pool, config
        The cases, and how patches are drawn from them.
    size
        Number of strips in a batch, each from one case; each strip is divided into `n_windows` patches.
    seed
        Seed that, together with the number of a batch, determines all its random numbers.
    initial_method
        Computes the initial image from all frames of a case, as for a scan.
    """

    pool: CasePool
    config: DataConfig
    size: int
    seed: tuple[int, ...]
    initial_method: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """Draw the batch of a number."""
        with one_thread():
            rng = np.random.default_rng([*self.seed, number])
            return draw_batch(self.pool, self.config, self.size, rng, self.initial_method)


def draw_batch(
    pool: CasePool, config: DataConfig, size: int, rng: Generator, initial_method: Reconstructor | None = None
) -> Batch:
    """Draw strips of equal size, coils and sampling pattern, and cut patches; see `Batches`.

    Raises
    ------
    DataError
        If no case is large enough.
    """
    crop, coils = parse_crop(choose_weighted(config.crops, rng)), choose_weighted(config.coils, rng)
    sampling = parse_sampling(choose_weighted(config.masks, rng))
    if allowed_crops(sampling, config) is not config.crops:
        crop = parse_crop(choose_weighted(allowed_crops(sampling, config), rng))
    whole_beat = initial_method is not None
    strip, cases = pool.draw(size, lambda shape: fit_strip(shape, crop, coils, config, whole_beat=whole_beat), rng)
    patches = [_draw_patch(case, strip, config, rng) for case in cases]
    target = torch.stack([patch.target for patch in patches])  # (strips, frames, y, x)
    n_frames, _, ky, kx = strip
    masks = [sampling.draw(n_frames, ky, kx, rng) for _ in patches]
    mask = as_tensor(np.stack(masks))  # (strips, frames, 1, ky, kx or 1)
    clean = fft2c(torch.stack([patch.coil_images for patch in patches]))  # (strips, frames, coils, ky, kx)
    low, high = np.log(config.noise)
    sigma = np.exp(rng.uniform(low, high, size)) * (rng.random(size) >= config.p_noise_free)
    level = torch.from_numpy(sigma.astype(np.float32))
    kspace = (clean + level.view(-1, 1, 1, 1, 1) * white_noise(rng, clean.shape)) * mask
    maps = [patch.csm for patch in patches if patch.csm is not None]
    csm = torch.stack(maps) if maps else None
    initial_image = None if initial_method is None else _windows(initial_method(CineData(kspace, mask, csm)), config)
    n_windows = len(_windows(mask[:1], config))
    csm = None if csm is None else csm.repeat_interleave(n_windows, 0)
    encoding = Encoding(_windows(mask, config), csm, matrix=(ky, kx))
    level = level.repeat_interleave(n_windows)
    return Batch(_windows(kspace, config), encoding, _windows(target, config), initial_image, noise=level)


def require_fit(pool: CasePool, config: DataConfig, *, whole_beat: bool) -> None:
    """Check that patches of all configured sizes can be cut from at least one case.

    Raises
    ------
    DataError
        If a size is too large for all cases; the hint gives settings that fit the largest cases.
    """
    crops = dict.fromkeys(crop for text in config.masks for crop in allowed_crops(parse_sampling(text), config))
    largest = max((group.shape for group in pool.groups), key=lambda shape: shape[2] * shape[3])
    for crop, coils in product(crops, config.coils):
        if any(fit_strip(group.shape, parse_crop(crop), coils, config, whole_beat=whole_beat) for group in pool.groups):
            continue
        frames, n_coils, ky, kx = largest
        what = f"no case is large enough for {config.n_frames or 'all'} frames of {crop} with {coils} coils"
        sizes = f"the largest is {frames} frames, {n_coils} coils, {ky} x {kx}"
        hint = f"--set training.data.crops={min(ky, 128)}x{min(kx, 32)} --set training.data.coils={min(n_coils, 4)}"
        hint += f" --set training.data.crops_2d={min(ky, 96)}x{min(kx, 96)}" if config.crops_2d else ""
        hint += f" --set training.data.n_frames={frames}" if config.n_frames and config.n_frames > frames else ""
        raise DataError(f"{what}; {sizes}", where="training.data", hint=hint)


def allowed_crops(sampling: Sampling, config: DataConfig) -> dict[str, float]:
    """The crops that are allowed with a sampling pattern, and their weights."""
    is_of_points = isinstance(sampling, MaskSpec) and not sampling.samples_whole_readouts
    return config.crops_2d if config.crops_2d and is_of_points else config.crops


def fit_strip(
    shape: Shape,
    crop: tuple[int | None, int | None],
    coils: int | str,
    config: DataConfig,
    *,
    whole_beat: bool,
) -> Shape | None:
    """The size of the strip to be cut from a case of size (frames, coils, y, x); None if the case is too small.

    With `whole_beat`, the strip has all frames, which the initial image requires; otherwise the frames of the windows.
    """
    used = shape[0] if config.n_frames is None else config.n_frames * config.n_windows
    n_coils = shape[1] if coils == "all" else int(coils)
    ky, kx = (size if part is None else part for part, size in zip(crop, shape[2:], strict=True))
    if used > shape[0] or n_coils > shape[1] or ky > shape[2] or kx > shape[3]:
        return None
    return shape[0] if whole_beat else used, n_coils, ky, kx


def choose_weighted(choices: dict[T, float], rng: Generator) -> T:
    """Draw one of the choices with probabilities proportional to their weights."""
    weights = np.array(list(choices.values()))
    return list(choices)[rng.choice(len(weights), p=weights / weights.sum())]


def _windows(series: Tensor, config: DataConfig) -> Tensor:
    """Cut ``(batch, frames, ...)`` into consecutive windows, ``(batch * n_windows, n_frames, ...)``."""
    if config.n_frames is None:
        return series
    used = config.n_windows * config.n_frames
    return series[:, :used].reshape(-1, config.n_frames, *series.shape[2:])


def _draw_patch(case: Case, strip: Shape, config: DataConfig, rng: Generator) -> Patch:
    """Cut a strip near moving tissue, and vary first frame, speed, time direction, orientation, phase and intensity."""
    n_frames, n_coils, *sizes = strip
    augment = config.augment
    step, reverse = choose_weighted(config.frame_steps, rng), rng.random() < augment.reverse
    first = int(rng.integers(case.shape[0]))
    frames = cyclic_frames(case.shape[0], first, step, reverse=reverse, is_periodic=case.is_periodic)[:n_frames]
    window = _draw_window(case.motion(), (sizes[0], sizes[1]), rng)
    patch = case.cut(frames, window, n_coils, augment, rng)
    patch = replace(patch, coil_images=patch.coil_images * draw_gain(patch.target, augment, rng)[:, None])
    mirrored = tuple(axis for axis in (-1, -2) if rng.random() < augment.flip)
    turns = int(rng.integers(4)) if augment.rotate_90 and sizes[0] == sizes[1] else 0

    def reorient(image: Tensor) -> Tensor:
        return rotate_by_90(flip(image, mirrored), turns)

    return Patch(reorient(patch.coil_images), None if patch.csm is None else reorient(patch.csm))


def _draw_window(motion: NDArray[np.float64], sizes: tuple[int, int], rng: Generator) -> tuple[slice, slice]:
    """Draw a window of adjacent rows and columns: uniformly in half of the cases, otherwise in proportion to its
    motion.

    Pixels that were not measured are NaN in `motion`; only windows with the smallest number of them are drawn.
    """
    outside = np.isnan(motion)
    moving, unmeasured = (_sums(values, sizes) for values in (np.where(outside, 0, motion), outside))
    inside = unmeasured <= unmeasured.min() + 0.5
    weight = (moving / max(moving[inside].sum(), 1e-12) + 1 / inside.sum()) * inside
    row, column = divmod(int(rng.choice(weight.size, p=weight.ravel() / weight.sum())), weight.shape[1])
    return slice(row, row + sizes[0]), slice(column, column + sizes[1])


def _sums(values: NDArray[Any], sizes: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over all windows of a size (y, x), by the index of their first row and column."""
    total = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (n_y, n_x), (y, x) = sizes, values.shape
    low, high = (total[start : start + y - n_y + 1] for start in (0, n_y))
    rows = high - low
    sums: NDArray[np.float64] = rows[:, n_x:] - rows[:, : x - n_x + 1]
    return sums
