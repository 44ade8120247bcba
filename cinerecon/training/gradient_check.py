"""Refuse training in bfloat16 if a convolution has a wrong weight gradient on this processor.

On processors with AMX, torch's weight gradient of 3-D convolutions in bfloat16 is wrong for some shapes, without an
error (torch 2.13, oneDNN 3.12). `networks.blocks.Conv3d` avoids it; other 3-D convolutions, e.g. of networks from
outside the package, are compared with float32 once for each shape, before this shape is used in training.
"""

import torch
from torch import Tensor, nn

from cinerecon.errors import ConfigError
from cinerecon.networks import bfloat16
from cinerecon.networks.blocks import Conv3d

HINT = "training.precision=float32, or cinerecon.networks.blocks.Conv3d in the network"


def check_weight_gradients(net: nn.Module) -> None:
    """Check each 3-D convolution of a network for each new shape of its input, in bfloat16 on a CPU.

    The forward pass raises `ConfigError` if the weight gradient is wrong.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv3d) and not isinstance(module, Conv3d):
            module.register_forward_hook(_Check(name))


class _Check:
    """Checks a convolution when it is called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shapes = set[torch.Size]()

    def __call__(self, module: nn.Conv3d, inputs: tuple[Tensor], output: Tensor) -> None:
        is_concerned = output.dtype == torch.bfloat16 and output.device.type == "cpu" and torch.is_grad_enabled()
        if not is_concerned or inputs[0].shape in self.shapes:
            return
        self.shapes.add(inputs[0].shape)
        where = f"convolution {self.name}, input {tuple(inputs[0].shape)}"
        if torch.cpu._is_amx_tile_supported():  # the gradient may corrupt memory and is not computed
            raise ConfigError("3-D convolutions in bfloat16 are not reliable on this processor", where=where, hint=HINT)
        error = _relative_error(module, inputs[0].shape, output.shape)
        if not error <= bfloat16.TOLERANCE:
            what = f"the weight gradient in bfloat16 is wrong on this processor: relative error {error:.2g}"
            raise ConfigError(what, where=where, hint=HINT)


def _relative_error(module: nn.Conv3d, input_shape: torch.Size, output_shape: torch.Size) -> float:
    """Relative error of the weight gradient in bfloat16 against float32, for random arrays of the given shapes."""
    generator = torch.Generator().manual_seed(0)
    features, grad = (torch.randn(shape, generator=generator).bfloat16() for shape in (input_shape, output_shape))
    expected = weight_gradient(module, features.float(), grad.float())
    return float((weight_gradient(module, features, grad).float() - expected).norm() / expected.norm())


def weight_gradient(module: nn.Conv3d, features: Tensor, grad: Tensor) -> Tensor:
    """The weight gradient of a convolution by torch, in the precision of its arguments."""
    weight = module.weight.detach().to(features.dtype).requires_grad_()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        output = module._conv_forward(features, weight, None)
        return torch.autograd.grad(output, weight, grad)[0]
