"""The precision of convolutions in reconstruction: bfloat16 where it is faster and the image remains the same.

`torch.autocast` computes convolutions in bfloat16. Transforms, data consistency and shrinkage of singular values are
not affected: they are complex, or excluded by the networks. Training is mixed in the same way. Rounding to bfloat16
changes the images of the networks of this package by 1e-3 of their norm or less, and PSNR by 0.001 dB.
"""

import torch
from torch import Tensor, nn

from cinerecon.networks import bfloat16
from cinerecon.physics.operators import Encoding

TOLERANCE = 0.02
"""Largest relative difference of the images of a trial in both precisions; the shipped networks reach 0.003."""

TRIAL = (16, 96, 16)
"""Frames, ky and kx of the trial: so large that 3-D convolutions of 16 channels use their usual algorithm."""


def run_network(
    net: nn.Module, kspace: Tensor, zerofilled: Tensor, encoding: Encoding, initial: Tensor | None, scale: Tensor
) -> Tensor:
    """The image of a network; k-space is divided by the scale, thus copied, only for networks that need it."""
    image: Tensor
    if getattr(net, "needs_kspace", True):
        image = net(kspace[None] / scale, encoding, start=initial)
    else:
        image = net(None, encoding, start=initial, zerofilled=zerofilled)
    return image


@torch.no_grad()
def is_bfloat16_accurate(net: nn.Module, device: torch.device) -> bool:
    """Whether a device computes faster in bfloat16, and a network gives the same image of a small trial there.

    The trial is undersampled noise of unit variance. Libraries have had wrong results in bfloat16 on some processors,
    hence the comparison.
    """
    if not bfloat16.is_native(device):
        return False
    generator = torch.Generator().manual_seed(0)
    frames, ky, kx = TRIAL
    mask = torch.rand(1, frames, 1, ky, 1, generator=generator) < 0.5
    kspace = (torch.randn(1, frames, 1, ky, kx, dtype=torch.complex64, generator=generator) * mask).to(device)
    encoding = Encoding(mask.to(device), matrix=(ky, kx))
    zerofilled, scale = encoding.adjoint(kspace), torch.ones((), device=device)
    images = []
    for enabled in (False, True):
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            images.append(run_network(net, kspace[0], zerofilled, encoding, zerofilled, scale))
    single, half = images
    return bool((half - single).norm() <= TOLERANCE * single.norm())  # False for NaN, too
