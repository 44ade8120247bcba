"""What the unrolled networks share: convolution stacks over (frames, y, x), data consistency, cascades run in turn."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from cinerecon.config import Config
from cinerecon.physics.operators import Encoding


class NetworkConfig(Config):
    """What every unrolled network can be told."""

    n_cascades: int = Field(10, ge=1, description="unrolled iterations")
    n_channels: int = Field(32, ge=1, description="feature channels")
    checkpointing: bool = Field(False, description="compute each cascade again in the backward pass, to save memory")


class ConvStack(nn.Sequential):
    """3x3x3 convolutions over (frames, y, x), an activation between them (and after the last one, if asked).

    Parameters
    ----------
    channels
        Channels before, between and after the convolutions, e.g. ``(2, 16, 16, 2)``.
    final_activation
        Whether an activation follows the last convolution.
    slope
        Slope of the activation for negative features: 0 is a ReLU.
    bias
        Whether the convolutions have one. Without, the stack is positively homogeneous.
    """

    def __init__(
        self, channels: Sequence[int], *, final_activation: bool = False, slope: float = 0.0, bias: bool = False
    ) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(channels):
            activation = nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)
            layers += [nn.Conv3d(n_in, n_out, 3, padding=1, bias=bias), activation]
        super().__init__(*(layers if final_activation else layers[:-1]))

    @property
    def convolutions(self) -> list[nn.Conv3d]:
        """The convolutions in order."""
        return [layer for layer in self if isinstance(layer, nn.Conv3d)]


def initialise_he(module: nn.Module, gain_last: float = 1.0) -> None:
    """He initialisation of all 3-D convolutions of a module; the last one's weights times `gain_last`."""
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv3d)]
    for convolution in convolutions:
        fan_in = convolution.in_channels * math.prod(convolution.kernel_size)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_in))
    with torch.no_grad():
        convolutions[-1].weight.mul_(gain_last)


def initialise_glorot(module: nn.Module) -> None:
    """Glorot uniform weights of all 3-D convolutions and linear layers of a module, biases zero: the start in Keras."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def run_cascade(cascade: nn.Module, *state: Any, checkpointing: bool = False) -> Any:
    """Call a cascade; with checkpointing, nothing inside it is kept for the backward pass."""
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(cascade, *state, use_reentrant=False)
    return cascade(*state)


def data_consistency(image: Tensor, zerofilled: Tensor, encoding: Encoding, noise_level: float | None = None) -> Tensor:
    """Put the measured data into an image, coil by coil, and combine the coils again.

    In k-space: (1 - M) k + M y where there is no noise, (1 - M) k + M (k + v y) / (1 + v) with v the inverse noise
    level. With A = M F S this is |S|^2 x + w (A^H y - A^H A x), w = 1 or v / (1 + v).

    Parameters
    ----------
    image
        ``(batch, frames, y, x)`` complex.
    zerofilled
        A^H y, ``(batch, frames, y, x)``.
    encoding
        The operator A.
    noise_level
        v; None takes the data as they are.
    """
    weight = 1.0 if noise_level is None else noise_level / (1 + noise_level)
    unchanged = image
    if encoding.csm is not None:
        unchanged = image * encoding.csm.abs().square().sum(-3).unsqueeze(-3)
    return unchanged + weight * (zerofilled - encoding.normal(image))


def to_channels(image: Tensor) -> Tensor:
    """Complex ``(batch, frames, y, x)`` to real ``(batch, 2, frames, y, x)``; a view, channels last in memory."""
    return torch.view_as_real(image).permute(0, 4, 1, 2, 3)


def to_complex(channels: Tensor) -> Tensor:
    """Real ``(batch, 2, frames, y, x)`` to complex ``(batch, frames, y, x)``."""
    return torch.view_as_complex(channels.permute(0, 2, 3, 4, 1).contiguous())


def soft(features: Tensor, threshold: Tensor) -> Tensor:
    """Soft thresholding of real features: sign(z) max(|z| - t, 0)."""
    return functional.relu(features - threshold) - functional.relu(-features - threshold)
