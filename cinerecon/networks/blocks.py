"""What the unrolled networks share: convolution stacks over (frames, y, x) and their complex-to-real views."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvStack(nn.Sequential):
    """3x3x3 convolutions over (frames, y, x) without bias, ReLU between them (and after the last one, if asked).

    Parameters
    ----------
    channels
        Channels before, between and after the convolutions, e.g. ``(2, 16, 16, 2)``.
    final_relu
        Whether a ReLU follows the last convolution.
    """

    def __init__(self, channels: Sequence[int], *, final_relu: bool = False) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(channels):
            layers += [nn.Conv3d(n_in, n_out, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
        super().__init__(*(layers if final_relu else layers[:-1]))

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


def to_channels(image: Tensor) -> Tensor:
    """Complex ``(batch, frames, y, x)`` to real ``(batch, 2, frames, y, x)``; a view, channels last in memory."""
    return torch.view_as_real(image).permute(0, 4, 1, 2, 3)


def to_complex(channels: Tensor) -> Tensor:
    """Real ``(batch, 2, frames, y, x)`` to complex ``(batch, frames, y, x)``."""
    return torch.view_as_complex(channels.permute(0, 2, 3, 4, 1).contiguous())


def soft(features: Tensor, threshold: Tensor) -> Tensor:
    """Soft thresholding of real features: sign(z) max(|z| - t, 0)."""
    return functional.relu(features - threshold) - functional.relu(-features - threshold)
