"""Batches: patches cut from cases of equal size, each with a sampling pattern, noise and variation of its own.

Line masks sample whole readouts, so a strip that is narrow along x and whole along ky is undersampled as the whole
image is, at a fraction of its cost. All that is random about a batch follows from a seed and its number: it is the same
whatever was drawn before it, in whichever process, on however many threads.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cinerecon.acquisition.undersample import Sampling, parse_sampling
from cinerecon.cine import CineData
from cinerecon.errors import CineReconError, DataError
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import MaskSpec
from cinerecon.training.data.augment import cyclic_frames, draw_gain, flip, quarter_turn
from cinerecon.training.data.case import Case, Patch, Shape
from cinerecon.training.data.config import DataConfig, T, parse_crop
from cinerecon.training.data.pool import Pool
from cinerecon.training.data.simulated import white_noise


@dataclass(frozen=True, eq=False)
class Batch:
    """What one training step needs; axes as in `CineData`, with a batch axis in front.

    Attributes
    ----------
    kspace, encoding
        What was measured, and how.
    target
        ``(batch, frames, y, x)``, what a fully sampled scan would show under the same coil maps; None where nobody
        knows.
    start
        ``(batch, frames, y, x)``, the image the network starts from, where a method makes it.
    held_back
        Samples that the network does not see, and how they were measured.
    noise
        ``(batch,)``, standard deviation of the complex noise of a sample, in the units of `kspace`; None if unknown.
    """

    kspace: Tensor
    encoding: Encoding
    target: Tensor | None
    start: Tensor | None = None
    held_back: tuple[Tensor, Encoding] | None = None
    noise: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        move = lambda tensor: None if tensor is None else tensor.to(device)  # noqa: E731
        held_back = None if self.held_back is None else (self.held_back[0].to(device), self.held_back[1].to(device))
        return replace(
            self,
            kspace=self.kspace.to(device),
            encoding=self.encoding.to(device),
            target=move(self.target),
            start=move(self.start),
            held_back=held_back,
            noise=move(self.noise),
        )


@dataclass(frozen=True, eq=False)
class Batches(Dataset[Batch]):
    """An endless row of batches, each drawn when it is asked for.

    Attributes
    ----------
    pool
        Where patches are cut from.
    config
        How.
    size
        Strips in a batch, each from a case; each gives `n_windows` patches.
    seed
        With the number of a batch, all that is random about it.
    start
        The method that makes the first image; it sees all frames of a case, as it will in use.
    """

    pool: Pool
    config: DataConfig
    size: int
    seed: tuple[int, ...]
    start: Reconstructor | None = None

    def __getitem__(self, number: int) -> Batch:
        """The batch of a number."""
        with one_thread():
            rng = np.random.default_rng([*self.seed, number])
            return draw_batch(self.pool, self.config, self.size, rng, self.start)


def load_batches(batches: Dataset[Batch], numbers: Sequence[int], n_workers: int = 0) -> Iterator[Batch]:
    """Draw batches in order, ahead of time in worker processes if there are any.

    Raises
    ------
    CineReconError
        That of drawing a batch, in whichever process.
    """
    for drawn in DataLoader(
        _Returning(batches),
        batch_size=None,
        sampler=numbers,
        num_workers=n_workers,
        worker_init_fn=_ignore_interruption,
    ):
        if isinstance(drawn, CineReconError):
            raise drawn
        yield drawn


def _ignore_interruption(_: int) -> None:
    """A worker process ends with the one that started it, which handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True, eq=False)
class _Returning(Dataset[Batch | CineReconError]):
    """Batches whose errors are returned: raised in a worker process, all but their text would be lost."""

    batches: Dataset[Batch]

    def __getitem__(self, number: int) -> Batch | CineReconError:
        try:
            return self.batches[number]
        except CineReconError as error:
            return error


@contextmanager
def one_thread() -> Iterator[None]:
    """Work on one thread, as worker processes do: the order of summation depends on the count of threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def draw_batch(pool: Pool, config: DataConfig, size: int, rng: Generator, start: Reconstructor | None = None) -> Batch:
    """Draw strips of equal size, coils and sampling pattern, and cut patches; see `Batches`.

    Raises
    ------
    DataError
        If no case is large enough.
    """
    crop, coils = parse_crop(choose(config.crops, rng)), choose(config.coils, rng)
    sampling = parse_sampling(choose(config.masks, rng))
    if crops_of(sampling, config) is not config.crops:
        crop = parse_crop(choose(crops_of(sampling, config), rng))
    fit = lambda shape: fit_strip(shape, crop, coils, config, whole_beat=start is not None)  # noqa: E731
    strip, cases = pool.draw(size, fit, rng)
    patches = [_draw_patch(case, strip, config, rng) for case in cases]
    target = torch.stack([patch.target for patch in patches])
    n_frames, _, ky, kx = strip
    mask = torch.stack([sampling.draw(n_frames, ky, kx, rng) for _ in patches])
    clean = fft2c(torch.stack([patch.coil_images for patch in patches]))
    low, high = np.log(config.noise)
    sigma = np.exp(rng.uniform(low, high, size)) * (rng.random(size) >= config.noise_free)
    level = torch.from_numpy(sigma.astype(np.float32))
    kspace = (clean + level.view(-1, 1, 1, 1, 1) * white_noise(rng, clean.shape)) * mask
    maps = [patch.csm for patch in patches if patch.csm is not None]
    csm = torch.stack(maps) if maps else None
    first = None if start is None else _windows(start(CineData(kspace, mask, csm)), config)
    n_windows = len(_windows(mask[:1], config))
    csm = None if csm is None else csm.repeat_interleave(n_windows, 0)
    encoding = Encoding(_windows(mask, config), csm, matrix=(ky, kx))
    level = level.repeat_interleave(n_windows)
    return Batch(_windows(kspace, config), encoding, _windows(target, config), first, noise=level)


def require_fit(pool: Pool, config: DataConfig, *, whole_beat: bool) -> None:
    """Check that every kind of patch the settings ask for can be cut from some case.

    Raises
    ------
    DataError
        If one cannot, with settings that all cases of the largest size allow.
    """
    crops = dict.fromkeys(crop for text in config.masks for crop in crops_of(parse_sampling(text), config))
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


def crops_of(sampling: Sampling, config: DataConfig) -> dict[str, float]:
    """The crops, with their weights, that patches of a pattern have."""
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
    """The strip to be cut from a case of sizes (frames, coils, y, x), None where it is too small.

    All frames are cut where the first image is to see them, else as many as the windows need.
    """
    used = shape[0] if config.n_frames is None else config.n_frames * config.n_windows
    n_coils = shape[1] if coils == "all" else int(coils)
    ky, kx = (size if part is None else part for part, size in zip(crop, shape[2:], strict=True))
    if used > shape[0] or n_coils > shape[1] or ky > shape[2] or kx > shape[3]:
        return None
    return shape[0] if whole_beat else used, n_coils, ky, kx


def choose(choices: dict[T, float], rng: Generator) -> T:
    """One of the choices, by their weights."""
    weights = np.array(list(choices.values()))
    return list(choices)[rng.choice(len(weights), p=weights / weights.sum())]


def _windows(series: Tensor, config: DataConfig) -> Tensor:
    """Cut ``(batch, frames, ...)`` into consecutive windows, ``(batch * n_windows, n_frames, ...)``."""
    if config.n_frames is None:
        return series
    used = config.n_windows * config.n_frames
    return series[:, :used].reshape(-1, config.n_frames, *series.shape[2:])


def _draw_patch(case: Case, strip: Shape, config: DataConfig, rng: Generator) -> Patch:
    """Cut a strip around what moves; vary first frame, speed, direction, orientation, phase and intensity."""
    n_frames, n_coils, *sizes = strip
    augment = config.augment
    step, reverse = choose(config.frame_steps, rng), rng.random() < augment.reverse
    frames = cyclic_frames(case.shape[0], int(rng.integers(case.shape[0])), step, reverse=reverse)[:n_frames]
    window = _draw_window(case.motion(), (sizes[0], sizes[1]), rng)
    patch = case.cut(frames, window, n_coils, augment, rng)
    patch = replace(patch, coil_images=patch.coil_images * draw_gain(patch.target, augment, rng)[:, None])
    mirrored = tuple(axis for axis in (-1, -2) if rng.random() < augment.flip)
    turns = int(rng.integers(4)) if augment.quarter_turns and sizes[0] == sizes[1] else 0
    place = lambda image: quarter_turn(flip(image, mirrored), turns)  # noqa: E731
    return Patch(place(patch.coil_images), None if patch.csm is None else place(patch.csm))


def _draw_window(motion: NDArray[np.float64], sizes: tuple[int, int], rng: Generator) -> tuple[slice, slice]:
    """Some neighbouring rows and columns, half of the time in proportion to what moves in them.

    Only those windows are drawn that hold the fewest pixels where nothing was measured, which `motion` has as NaN.
    """
    outside = np.isnan(motion)
    moving, unmeasured = (_sums(values, sizes) for values in (np.where(outside, 0, motion), outside))
    inside = unmeasured <= unmeasured.min() + 0.5
    weight = (moving / max(moving[inside].sum(), 1e-12) + 1 / inside.sum()) * inside
    row, column = divmod(int(rng.choice(weight.size, p=weight.ravel() / weight.sum())), weight.shape[1])
    return slice(row, row + sizes[0]), slice(column, column + sizes[1])


def _sums(values: NDArray[Any], sizes: tuple[int, int]) -> NDArray[np.float64]:
    """The sum over every window of some sizes (y, x), by the index of its first row and column."""
    total = np.pad(values.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (n_y, n_x), (y, x) = sizes, values.shape
    low, high = (total[start : start + y - n_y + 1] for start in (0, n_y))
    rows = high - low
    sums: NDArray[np.float64] = rows[:, n_x:] - rows[:, : x - n_x + 1]
    return sums
