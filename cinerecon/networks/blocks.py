"""Building blocks of unrolled networks: convolution stacks over (frames, y, x), data consistency, thresholding."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks import bfloat16
from cinerecon.physics.operators import Encoding

N_LANES = 16
"""Number of output channels that oneDNN computes together with AVX-512."""


class Conv3d(nn.Conv3d):
    """A 3x3x3 convolution over (frames, y, x), padded by zeros, with a fast path on the CPU.

    For one small cine and for few input channels, torch falls back from oneDNN to a slow loop; few output channels use
    only a small part of oneDNN's vectors. In these cases the frames become the batch of a 2-D convolution whose input
    channels are those of three frames, or whose output channels are the contributions to three frames.
    """

    N_FEW = 6
    """Largest number of channels that is treated as few."""
    N_SMALL = 20480
    """Size (batch x channels x frames x y) of a single small cine, the bound that torch uses."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__(n_in, n_out, 3, padding=1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, n_in, frames, y, x)`` to ``(batch, n_out, frames, y, x)``."""
        if features.device.type != "cpu":
            return super().forward(features)
        is_small = len(features) == 1 and features[..., 0].numel() <= self.N_SMALL
        if not (is_small or min(self.in_channels, self.out_channels) <= self.N_FEW):
            return self._in_bfloat16(features) if _is_bfloat16(features) else super().forward(features)
        return self._gather_frames(features) if self.in_channels <= self.N_FEW else self._spread_frames(features)

    def _in_bfloat16(self, features: Tensor) -> Tensor:
        """The convolution in bfloat16, with a correct weight gradient on every processor."""
        convolved = bfloat16.convolve(features.bfloat16(), self.weight.bfloat16())
        return convolved if self.bias is None else convolved + self.bias.bfloat16().view(-1, 1, 1, 1)

    def _gather_frames(self, features: Tensor) -> Tensor:
        """Compute each frame from the channels of three adjacent frames."""
        padded = functional.pad(features.permute(0, 2, 3, 4, 1), (0, 0, 0, 0, 0, 0, 1, 1))
        adjacent = padded.unfold(1, 3, 1).flatten(-2).permute(0, 4, 1, 2, 3)
        frames = functional.conv2d(fold_frames(adjacent), self.weight.flatten(1, 2), self.bias, padding=1)
        return unfold_frames(frames, len(features))

    def _spread_frames(self, features: Tensor) -> Tensor:
        """Distribute each frame to three adjacent frames."""
        weight = self.weight.movedim(2, 0).flatten(0, 1)
        shares = unfold_frames(convolve_to_few(fold_frames(features), weight), len(features))
        total = _add_shares(*shares.permute(0, 2, 3, 4, 1).unflatten(-1, (3, -1)).unbind(-2))
        output: Tensor = (total if self.bias is None else total + self.bias).permute(0, 4, 1, 2, 3)
        return output


def _add_shares(to_next: Tensor, own: Tensor, to_previous: Tensor) -> Tensor:
    """The sum of the shares that a frame receives from the frame before, itself and the frame after, channels last."""
    if torch.is_grad_enabled():
        total = own + functional.pad(to_next[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
        return total + functional.pad(to_previous[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
    total = torch.empty_like(own, memory_format=torch.contiguous_format)
    for n, channel in enumerate(total.unbind(-1)):  # channel by channel, so that the innermost loop is over x
        channel.copy_(own[..., n])
        channel[:, 1:].add_(to_next[:, :-1, ..., n])
        channel[:, :-1].add_(to_previous[:, 1:, ..., n])
    return total


def _is_bfloat16(features: Tensor) -> bool:
    """Whether to compute convolutions on the CPU in bfloat16, with gradients."""
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return torch.is_grad_enabled() and (autocast or features.dtype == torch.bfloat16)


class Conv2d(nn.Conv2d):
    """A 3x3 convolution over (y, x), frame by frame, padded by zeros."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__(n_in, n_out, 3, padding=1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, n_in, frames, y, x)`` to ``(batch, n_out, frames, y, x)``."""
        return unfold_frames(super().forward(fold_frames(features)), len(features))


class NarrowConv2d(nn.Conv2d):
    """A 3x3 convolution over (y, x) to few channels, padded by zeros, with a fast path on the CPU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, n_in, y, x)`` to ``(batch, n_out, y, x)``."""
        return convolve_to_few(features, self.weight, self.bias)


def convolve_to_few(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution, padded by zeros, ``(batch, n_in, y, x)`` to few channels ``(batch, n_out, y, x)``.

    oneDNN computes 16 output channels together. Without gradients, those of adjacent columns share such a group: they
    become the output channels of a wider kernel that moves by as many columns.
    """
    n_columns = next((n for n in (4, 2) if n * len(weight) <= N_LANES and features.shape[-1] % n == 0), 1)
    if n_columns == 1 or features.device.type != "cpu" or torch.is_grad_enabled():
        return functional.conv2d(features, weight, bias, padding=1)
    kernels = [functional.pad(weight, (n, n_columns - 1 - n)) for n in range(n_columns)]
    biases = None if bias is None else bias.repeat(n_columns)
    groups = functional.conv2d(features, torch.cat(kernels), biases, stride=(1, n_columns), padding=1)
    columns: Tensor = groups.permute(0, 2, 3, 1).unflatten(-1, (n_columns, -1)).flatten(2, 3)
    return columns.permute(0, 3, 1, 2)


Convolution = nn.Conv2d | nn.Conv3d


class ConvStack(nn.Sequential):
    """Stack of 3x3x3 convolutions over (frames, y, x) with activations between them, and optionally after the last.

    Parameters
    ----------
    channels
        Channels before, between and after the convolutions, e.g. ``(2, 16, 16, 2)``.
    final_activation
        Whether an activation follows the last convolution.
    slope
        Slope of the activation for negative features: 0 is a ReLU.
    bias
        Whether the convolutions have a bias. Without bias, the stack is positively homogeneous.
    n_dimensions
        3, or 2 for convolutions over (y, x), frame by frame.
    to_image
        Whether the output of the stack is added to an image or becomes one.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        final_activation: bool = False,
        slope: float = 0.0,
        bias: bool = False,
        n_dimensions: Literal[2, 3] = 3,
        to_image: bool = False,
    ) -> None:
        convolution = Conv3d if n_dimensions == 3 else Conv2d
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(channels):
            activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
            layers += [convolution(n_in, n_out, bias=bias), activation]
        super().__init__(*(layers if final_activation else layers[:-1]))
        self.to_image = to_image

    def run(self, features: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Apply the convolutions from `first` up to `last` (exclusive), each with its activation."""
        for layer in list(self)[2 * first : None if last is None else 2 * last]:
            features = layer(features)
        return features

    @property
    def convolutions(self) -> list[Convolution]:
        """The convolutions of the stack, in order."""
        return [layer for layer in self if isinstance(layer, Conv3d | Conv2d)]


def initialise_he(module: nn.Module) -> None:
    """He initialisation of all convolutions of a module, biases zero."""
    for convolution in module.modules():
        if not isinstance(convolution, nn.Conv2d | nn.Conv3d):
            continue
        fan_in = convolution.in_channels * math.prod(convolution.kernel_size)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_in))
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)


def initialise_glorot(module: nn.Module) -> None:
    """Glorot uniform weights of all convolutions and linear layers of a module, biases zero, as in Keras."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def gradient_step(image: Tensor, zerofilled: Tensor, encoding: Encoding, step: Tensor) -> Tensor:
    """A gradient step on the data term, x - step A^H (A x - y); `zerofilled` is A^H y, ``(batch, frames, y, x)``."""
    return image - step * (encoding.normal(image) - zerofilled)


def data_consistency(
    image: Tensor, zerofilled: Tensor, encoding: Encoding, inverse_noise_level: float | None = None
) -> Tensor:
    """Enforce consistency with the measured data in the k-space of each coil, and combine the coils.

    The k-space k of a coil image becomes (1 - M) k + M y for noise-free data, and (1 - M) k + M (k + v y) / (1 + v) for
    an inverse noise level v. With A = M F S, the image is |S|^2 x + w (A^H y - A^H A x), where w = 1 or v / (1 + v).

    Parameters
    ----------
    image
        ``(batch, frames, y, x)`` complex.
    zerofilled
        A^H y, ``(batch, frames, y, x)``.
    encoding
        The operator A.
    inverse_noise_level
        v; None means that the data are treated as noise-free.
    """
    weight = 1.0 if inverse_noise_level is None else inverse_noise_level / (1 + inverse_noise_level)
    unchanged = image
    if encoding.sum_of_squares is not None:
        unchanged = image * encoding.sum_of_squares.unsqueeze(-3)
    return unchanged + weight * (zerofilled - encoding.normal(image))


def to_channels(image: Tensor) -> Tensor:
    """Complex ``(batch, frames, y, x)`` to real ``(batch, 2, frames, y, x)``; a view with channels last in memory."""
    return torch.view_as_real(image).permute(0, 4, 1, 2, 3)


def to_complex(channels: Tensor) -> Tensor:
    """Real ``(batch, 2, frames, y, x)`` to complex ``(batch, frames, y, x)``, in at least single precision.

    Mixed precision is limited to the computation between `to_channels` and this function: convolutions may be in
    bfloat16; complex computations, such as transforms and shrinkage, are not.
    """
    channels = channels.to(torch.promote_types(channels.dtype, torch.float32))
    return torch.view_as_complex(channels.permute(0, 2, 3, 4, 1).contiguous())


def fold_frames(features: Tensor) -> Tensor:
    """``(batch, channels, frames, y, x)`` to ``(batch * frames, channels, y, x)``; a view if channels are last."""
    return features.transpose(1, 2).flatten(0, 1)


def unfold_frames(images: Tensor, n_batch: int) -> Tensor:
    """The inverse of `fold_frames`, a view."""
    series: Tensor = images.unflatten(0, (n_batch, -1)).transpose(1, 2)
    return series


def soft(features: Tensor, threshold: Tensor) -> Tensor:
    """Soft thresholding of real features, sign(z) max(|z| - t, 0); it is discontinuous at zero if t is negative.

    It is computed in at least single precision, also between convolutions in bfloat16.
    """
    precision = torch.promote_types(features.dtype, torch.float32)
    apply: Callable[[Tensor, Tensor], Tensor] = _Soft.apply
    return apply(features.to(precision), threshold.to(precision))


class _Soft(torch.autograd.Function):
    """Stores only its output for the derivative, which the next layer stores anyway."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, threshold: Tensor) -> Tensor:
        if features.device.type == "cpu" and bool((threshold >= 0).all()):  # fewer passes over memory
            shrunk = features.clamp(-threshold, threshold)
            torch.sub(features, shrunk, out=shrunk)
        elif features.device.type == "cpu" and bool((threshold <= 0).all()):
            shrunk = torch.addcmul(features, features.sign(), threshold, value=-1)
        else:
            shrunk = features.abs().sub_(threshold).relu_().mul_(features.sign())
        ctx.save_for_backward(shrunk)
        ctx.shape = threshold.shape
        return shrunk

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (shrunk,) = ctx.saved_tensors
        to_features = grads[0] * (shrunk != 0) if ctx.needs_input_grad[0] else None
        to_threshold = -(grads[0] * shrunk.sign()).sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return to_features, to_threshold
