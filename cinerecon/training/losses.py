"""Training losses."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.errors import ConfigError
from cinerecon.metrics.measures import ssim_map
from cinerecon.networks import bfloat16
from cinerecon.physics.fourier import fft2c
from cinerecon.training.data.batch import Batch
from cinerecon.training.recipe import TrainConfig
from cinerecon.training.ssdu import ssdu_loss

SSIM_LOSS_WINDOW = 7
"""Side of the uniform window of the SSIM term [pixels]; smaller than in the SSIM metric, since patches are small."""
MSE_OFFSET = 1e-10
"""Mean squared error below which a patch has little weight: -100 dB relative to an image of brightness 1."""
ERROR_TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "mse": lambda error: error,
    "rmse": lambda error: (error + MSE_OFFSET).sqrt(),
    "log": lambda error: (error / MSE_OFFSET).log1p(),
}
"""Functions of the mean squared error of a patch, by name of the loss."""


def training_loss(net: nn.Module, batch: Batch, config: TrainConfig) -> Tensor:
    """The training loss of a batch: the loss of the image or of the held-out samples, plus the symmetry term.

    Raises
    ------
    ConfigError
        If the weight of the symmetry term is set and the network has no such term.
    """
    has_symmetry_loss = config.symmetry_weight > 0
    device = batch.kspace.device
    with torch.autocast(device.type, torch.bfloat16, enabled=trains_in_bfloat16(config, device)):
        options = {"extras": True} if has_symmetry_loss else {}
        output = net(batch.kspace, batch.encoding, start=batch.initial_image, **options)
    image, extras = output if has_symmetry_loss else (output, {})
    if has_symmetry_loss and not extras.get("symmetry"):
        raise ConfigError("the network has no symmetry loss", where="training.symmetry_weight", hint="leave it out")
    if config.loss == "ssdu":
        loss = ssdu_loss(image, batch, config.ssdu.seen_weight)
    else:
        loss = image_loss(image, batch.target, config)
    for residual in extras.get("symmetry", []):
        loss = loss + config.symmetry_weight * residual.float().square().mean()
    return loss


def trains_in_bfloat16(config: TrainConfig, device: torch.device | str) -> bool:
    """Whether convolutions are computed in bfloat16 on a device."""
    return config.precision == "bfloat16" or (config.precision == "auto" and bfloat16.is_native(device))


def image_loss(image: Tensor, target: Tensor | None, config: TrainConfig) -> Tensor:
    """Loss of images ``(batch, frames, y, x)``: error of real and imaginary parts, plus optional terms."""
    assert target is not None
    error = (image - target).abs().square().mean((-3, -2, -1)) / 2
    loss = ERROR_TRANSFORMS[config.loss](error).mean()
    if config.ssim_weight:
        loss = loss + config.ssim_weight * (1 - structural_similarity(image.abs(), target.abs()))
    if config.high_frequency_weight:
        loss = loss + config.high_frequency_weight * high_frequency_error(image - target)
    return loss


def structural_similarity(image: Tensor, target: Tensor) -> Tensor:
    """Mean SSIM of real frames ``(batch, frames, y, x)`` in uniform windows; data range: maximum of each target."""
    window = (min(SSIM_LOSS_WINDOW, image.shape[-2]), min(SSIM_LOSS_WINDOW, image.shape[-1]))
    values = (image, target, image * target, image.square() + target.square())
    moments = torch.stack([functional.avg_pool2d(value, window, stride=1) for value in values])
    peak = target.amax((-3, -2, -1), keepdim=True).clamp(min=1e-12)
    return ssim_map(moments, peak).mean()


def high_frequency_error(error: Tensor) -> Tensor:
    """Mean squared error of ``(..., y, x)`` in k-space, weighted by squared frequency: 0 at the centre, 1 at a corner.

    This is proportional to the mean squared gradient of the error in the image.
    """
    y, x = (((torch.arange(n, device=error.device) - n // 2) / (n / 2)).square() for n in error.shape[-2:])
    weight = (y[:, None] + x) / 2
    return (weight * fft2c(error).abs().square()).mean() / 2
