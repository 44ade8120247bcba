"""ST-VarNet: data consistency alternating with space-time convolutions of features that are passed between cascades.

This network was developed for this package and is not published elsewhere. One cascade solves

    x = argmin_x ||A x - y||^2 + lambda ||x - z||^2,      z the image of the previous cascade,

in closed form for one coil and by a few conjugate gradient steps for several coils, where lambda depends on noise
level, acceleration and number of coils of the scan. It then adds a correction to the image, which residual blocks
compute from features. The features are not computed again in each cascade: a cascade receives those of the previous
cascade and adds the information in x and in x - z.

Purpose of each part:

- Features have half the resolution (pixel unshuffling: 2 x 2 pixels become one voxel with four times as many channels),
  so that one 3 x 3 convolution covers 6 x 6 pixels at a quarter of the cost.
- Convolutions are over (y, x) only. Time is mixed by shifting: before each convolution a quarter of the channels is
  taken from an earlier frame and a quarter from a later one (temporal shift module, Lin et al. 2019,
  doi:10.1109/ICCV.2019.00718), at a distance of alternately 1, 2 and 4 frames. This requires no multiplication, and 2-D
  convolutions are the fastest ones on CPUs. Frames are cyclic, as in a gated cine.
- Features that pass from cascade to cascade follow recurrent networks (Qin et al. 2019, doi:10.1109/TMI.2018.2863670)
  and PromptMR (Xin et al. 2023, doi:10.48550/arXiv.2309.13839).
- In each cascade, the singular values of image blocks (voxels x frames) are shrunk. The result is an input of the
  convolutions, and a fraction of it is added to the image.
- The initial image of the shipped model is that of k-t SLR after 12 iterations, a third of the usual number, with
  settings chosen for this number: the cascades add details of motion that its global priors do not recover.
"""

from collections.abc import Callable
from functools import reduce
from math import ceil, floor
from types import EllipsisType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import Convolution, NarrowConv2d
from cinerecon.networks.config import StVarNetConfig
from cinerecon.networks.lowrank_module import LowRankShrinkage
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.cg import conjugate_gradients
from cinerecon.physics.lowrank import shrink_casorati, shrink_patches
from cinerecon.physics.operators import Encoding
from cinerecon.physics.shrinkage import ShrinkageConfig

N_CONDITIONS = 4
"""Number of properties of a scan on which data consistency and shrinkage depend, see `scan_conditions`."""
DISTANCES = (1, 2, 4)
"""Temporal shifts of successive residual blocks [frames]."""
EDGE = 7 / 16
"""Distance from the centre of k-space, as a fraction of the matrix, beyond which samples are at the edge."""
State = tuple[Tensor, Tensor | None]
"""Image ``(batch, frames, y, x)`` and features ``(batch * frames, channels, y / 2, x / 2)``."""


class DataConsistency(nn.Module):
    """The correction x - z of the data consistency step; log(exp(lambda) - 1) is linear in the conditions."""

    def __init__(self, n_cg_steps: int) -> None:
        super().__init__()
        self.n_cg_steps = n_cg_steps
        self.weight = nn.Parameter(torch.tensor([-3.0, *(N_CONDITIONS - 1) * (0.0,)]))

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor, conditions: Tensor) -> Tensor:
        """``(batch, frames, y, x)`` to the same; for several coils (A^H A + lambda) d = r is solved approximately."""
        penalty = functional.softplus(conditions @ self.weight).view(-1, 1, 1, 1)
        residual = zerofilled - encoding.normal(image)
        if encoding.n_coils == 1:
            return residual / (1 + penalty)

        def normal(image: Tensor) -> Tensor:
            return encoding.normal(image) + penalty * image

        def curvature(image: Tensor) -> Tensor:
            return encoding.energy(image) + penalty * _inner(image, image)

        return conjugate_gradients(normal, residual, self.n_cg_steps, None, inner=_inner, curvature=curvature)


class LowRankBlocks(nn.Module):
    """Shrinkage of the singular values of image blocks (voxels x frames), by a threshold that depends on conditions."""

    def __init__(self, config: ShrinkageConfig, size: int, index: int) -> None:
        super().__init__()
        self.shrinkage = LowRankShrinkage(config)
        self.size, self.shift = size, (index % 2) * (size // 2)
        self.gain = nn.Parameter(torch.zeros(N_CONDITIONS))

    def forward(self, image: Tensor, conditions: Tensor) -> Tensor:
        """``(batch, frames, y, x)`` to the same."""
        gains = (conditions @ self.gain).exp()
        return torch.stack([self._shrink(series, gain) for series, gain in zip(image, gains, strict=True)])

    def _shrink(self, series: Tensor, gain: Tensor) -> Tensor:
        rule = self.shrinkage.rule_with(gain)
        if not self.size:
            return shrink_casorati(series, rule)
        return shrink_patches(series, rule, self.size, (self.shift, self.shift))


class SpaceTimeBlock(nn.Module):
    """A residual block of two convolutions over (y, x); before each, half of the channels are shifted in time."""

    def __init__(self, n_channels: int, distance: int) -> None:
        super().__init__()
        self.distance = distance
        self.first = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        self.second = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def forward(self, features: Tensor, n_frames: int) -> Tensor:
        """``(batch * frames, channels, y, x)`` to the same."""
        inner = self.first(shift_frames(features, n_frames, self.distance))
        outer: Tensor = self.second(shift_frames(inner, n_frames, self.distance, rectify=True))
        return outer.add_(features)


class Cascade(nn.Module):
    """One iteration: data consistency, then a correction computed from features."""

    def __init__(self, config: StVarNetConfig, index: int) -> None:
        super().__init__()
        c, n_images = config.n_channels, 2 + (config.lowrank is not None)
        self.consistency = DataConsistency(config.n_cg_steps)
        self.lowrank = LowRankBlocks(config.lowrank, config.block_size, index) if config.lowrank else None
        self.carries_features = config.carries_features
        self.blend = nn.Parameter(torch.tensor(config.blend)) if config.lowrank else None
        self.encode = nn.Conv2d(8 * n_images, c, 3, padding=1)
        self.condition = nn.Linear(N_CONDITIONS, c, bias=False)
        distances = [DISTANCES[(index * config.n_blocks + n) % len(DISTANCES)] for n in range(config.n_blocks)]
        self.blocks = nn.ModuleList(SpaceTimeBlock(c, distance) for distance in distances)
        self.decode = NarrowConv2d(c, 8)
        self._initialise_near_identity()

    @torch.no_grad()
    def _initialise_near_identity(self) -> None:
        self.condition.weight.zero_()
        self.decode.weight.mul_(0.1)
        self.decode.bias.zero_()  # type: ignore[union-attr]
        for block in self.blocks:
            block.second.weight.mul_(0.3)  # type: ignore[operator, union-attr]

    def forward(self, zerofilled: Tensor, encoding: Encoding, state: State, conditions: Tensor) -> State:
        """Compute the next state."""
        image, features = state
        correction = self.consistency(zerofilled, encoding, image, conditions)
        image = image + correction
        images = [image, correction]
        if self.lowrank is not None:
            images.append(self.lowrank(image, conditions) - image)
            image = image + self.blend * images[-1]
        voxels, features = self._refine(unshuffle_pixels(images), features, conditions, image.shape[1])
        return image + shuffle_pixels(voxels, image), features if self.carries_features else None

    def _refine(
        self, voxels: Tensor, features: Tensor | None, conditions: Tensor, n_frames: int
    ) -> tuple[Tensor, Tensor]:
        """The correction of the image, with 2 x 2 pixels as one voxel, and the updated features."""
        new = self.encode(voxels)
        new.add_(self.condition(conditions).repeat_interleave(n_frames, 0)[..., None, None].to(new.dtype))
        features = new if features is None else new.add_(features)
        for block in self.blocks:
            features = block(features, n_frames)
        return self.decode(functional.relu(features)), features


class StVarNet(Unrolled[StVarNetConfig]):
    """ST-VarNet; after the last cascade, the image is made consistent with the data once more."""

    config_class = StVarNetConfig
    frames_are_cyclic = True
    needs_kspace = True
    n_feature_series = 2.2

    def __init__(self, config: StVarNetConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config, n) for n in range(self.config.n_cascades))
        self.consistency = DataConsistency(self.config.n_cg_steps)

    def output_convolutions(self) -> list[Convolution]:
        """The last convolution of each cascade."""
        return [cast(Cascade, cascade).decode for cascade in self.cascades]

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass image and features through all cascades. Extras: ``images``, the image after each cascade."""
        assert run.kspace is not None
        conditions = scan_conditions(run.kspace, run.encoding)
        state: State = (image, None)
        images = []
        for cascade in self.cascades:
            state = run(cascade, state, conditions)
            images.append(state[0])
        return state[0] + run(self.consistency, state[0], conditions), {"images": images}


@torch.no_grad()
def scan_conditions(kspace: Tensor, encoding: Encoding) -> Tensor:
    """Properties of a scan, ``(batch, 4)``: 1, noise level, acceleration, and 1 for several coils (otherwise 0).

    The noise level is the root mean square of the samples at the edge of k-space, where the signal is weak. Noise level
    and acceleration are logarithms that are 0 for noise of 1 % of the brightness and for 8-fold acceleration.
    """
    dims = (1, 2, 3, 4)
    mask = encoding.mask.expand(*encoding.mask.shape[:-1], kspace.shape[-1])
    pieces = [(torch.view_as_real(kspace[edge]), mask[edge]) for edge in edges(kspace.shape[-2], kspace.shape[-1])]
    energy = reduce(torch.add, ((samples.square().sum(-1) * sampled).sum(dims) for samples, sampled in pieces))
    n_samples = reduce(torch.add, (sampled.sum(dims) for _, sampled in pieces))
    noise = (energy / (n_samples * encoding.n_coils).clamp(min=1)).sqrt()
    share = encoding.mask.to(noise.dtype).mean(dims).clamp(min=1e-3)
    several = torch.full_like(noise, float(encoding.n_coils > 1))
    return torch.stack((torch.ones_like(noise), noise.clamp(min=1e-4).log10() + 2, -share.log2() - 3, several), -1)


def edges(n_y: int, n_x: int) -> list[tuple[EllipsisType, slice, slice]]:
    """Indices of the rectangles that together are the edge of k-space."""
    (top, bottom), (left, right) = ((floor(n // 2 - EDGE * n) + 1, ceil(n // 2 + EDGE * n)) for n in (n_y, n_x))
    rows, columns = slice(top, bottom), slice(None)
    whole_rows = [(..., slice(top), columns), (..., slice(bottom, None), columns)]
    return [*whole_rows, (..., rows, slice(left)), (..., rows, slice(right, None))]


def unshuffle_pixels(images: list[Tensor]) -> Tensor:
    """Pixel unshuffling of complex images ``(batch, frames, y, x)``: ``(batch * frames, 8 per image, y / 2, x / 2)``.

    Odd sizes are padded with zeros. Channels are last in memory.
    """
    stacked = torch.view_as_real(torch.stack(images, -1)).flatten(-2)
    y, x = stacked.shape[2:4]
    if y % 2 or x % 2:
        stacked = functional.pad(stacked, (0, 0, 0, x % 2, 0, y % 2))
    voxels: Tensor = stacked.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 1, 2, 4, 3, 5, 6)
    return voxels.flatten(4).flatten(0, 1).permute(0, 3, 1, 2)


def shuffle_pixels(voxels: Tensor, like: Tensor) -> Tensor:
    """The inverse of `unshuffle_pixels` for one image, with the size of `like`, ``(batch, frames, y, x)``."""
    n_batch, _, y, x = like.shape
    voxels = voxels.to(torch.promote_types(voxels.dtype, torch.float32))
    pixels = voxels.permute(0, 2, 3, 1).unflatten(-1, (2, 2, 2)).permute(0, 1, 3, 2, 4, 5)
    frames: Tensor = torch.view_as_complex(pixels.flatten(3, 4).flatten(1, 2).contiguous())
    image: Tensor = frames.unflatten(0, (n_batch, -1))
    return image[..., :y, :x]


def shift_frames(features: Tensor, n_frames: int, distance: int, *, rectify: bool = False) -> Tensor:
    """Take a quarter of the channels from an earlier frame and a quarter from a later one; the others are unchanged.

    Parameters
    ----------
    features
        ``(batch * frames, channels, y, x)``.
    n_frames
        Frames of a cine; they are cyclic.
    distance
        Shift [frames].
    rectify
        Replace negative features by 0.
    """
    apply: Callable[[Tensor, int, int, bool], Tensor] = _ShiftFrames.apply
    return apply(features, n_frames, distance, rectify)


class _ShiftFrames(torch.autograd.Function):
    """The adjoint of a shift is the opposite shift, which takes one pass over memory instead of five with autograd."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, n_frames: int, distance: int, rectify: bool) -> Tensor:
        ctx.n_frames, ctx.distance, ctx.rectify = n_frames, distance, rectify
        shifted = _shifted(features, n_frames, distance)
        if rectify:
            shifted.relu_()
            ctx.save_for_backward(shifted)
        return shifted

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0]
        if ctx.rectify:
            grad = torch.ops.aten.threshold_backward(grad, ctx.saved_tensors[0], 0)
        return _shifted(grad, ctx.n_frames, -ctx.distance), None, None, None


def _shifted(features: Tensor, n_frames: int, distance: int) -> Tensor:
    features = features.contiguous(memory_format=torch.channels_last)
    shifted = torch.empty_like(features)
    source, target = (part.permute(0, 2, 3, 1).unflatten(0, (-1, n_frames)) for part in (features, shifted))
    n, d = features.shape[1] // 4, distance % n_frames
    target[..., 2 * n :] = source[..., 2 * n :]
    for channels, step in ((slice(0, n), d), (slice(n, 2 * n), n_frames - d)):
        target[:, step:, ..., channels] = source[:, : n_frames - step, ..., channels]
        target[:, :step, ..., channels] = source[:, n_frames - step :, ..., channels]
    return shifted


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """The real inner product of each frame, ``(batch, frames, 1, 1)``, without products of complex numbers."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum((-3, -2, -1)).unsqueeze(-1).unsqueeze(-1)
