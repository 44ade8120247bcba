"""Validation during training: image quality on fixed patches that are never used for training."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import model_label
from cinerecon.methods.table import find_method, load_method
from cinerecon.training.batches import TrainingData, network_input
from cinerecon.training.data.batch import Batch
from cinerecon.training.recipe import TrainConfig


@torch.no_grad()
def reconstruct(net: nn.Module, batch: Batch) -> Tensor:
    """Reconstruct the image ``(batch, frames, y, x)`` of a batch in full precision."""
    image: Tensor = net(batch.kspace, batch.encoding, start=batch.initial_image)
    return image


def validate(net: nn.Module | None, batches: Sequence[Batch]) -> float:
    """Mean quality of the images of a network over all batches [dB]; higher is better.

    With a reference, the quality is the PSNR, whose peak is the maximum of the reference. Without a reference, it is
    the ratio of the energy of the held-out samples to the energy of their residual.

    Parameters
    ----------
    net
        The network; None assesses its input images instead.
    batches
        Batches of one or more patches.
    """
    images = (network_input(batch) if net is None else reconstruct(net, batch) for batch in batches)
    return _mean_decibels(images, batches)


def validate_method(method: Reconstructor, batches: Sequence[Batch]) -> float:
    """Mean quality of the images of a method on the same patches, see `validate` [dB]."""
    cines = (CineData(batch.kspace, batch.encoding.mask, batch.encoding.csm) for batch in batches)
    return _mean_decibels(map(method, cines), batches)


def measure_baselines(
    config: TrainConfig, data: TrainingData, batches: Sequence[Batch], note: Callable[[str], None]
) -> dict[str, float]:
    """Quality of the input images, and of the method that the network is compared with [dB].

    Parameters
    ----------
    config
        Settings of the training, among them `compared_with`.
    data
        Data of the training; the method receives the validation batches without demodulation.
    batches
        The validation batches of the network.
    note
        Called with each result, as text.
    """
    metrics = {"first_image_db": round(validate(None, batches), 3)}
    note(f"initial image  validation {metrics['first_image_db']:.2f} dB (without the network)")
    if config.compared_with:
        quality = validate_method(load_method(config.compared_with), data.draw_as_measured())
        label = model_label(config.compared_with)
        metrics[f"{label}_db"] = round(quality, 3)
        note(f"{label}  validation {quality:.2f} dB")
    return metrics


def require_baseline(config: TrainConfig) -> None:
    """Check that the method with which the network is compared exists.

    Raises
    ------
    ConfigError
        If it does not exist, with the nearest name as a hint.
    """
    try:
        if config.compared_with:
            find_method(config.compared_with)
    except ConfigError as error:
        raise ConfigError(error.what, where="training.compared_with", hint=error.hint) from None


def _mean_decibels(images: Iterable[Tensor], batches: Sequence[Batch]) -> float:
    return sum(_decibels(image, batch) for image, batch in zip(images, batches, strict=True)) / len(batches)


def _decibels(image: Tensor, batch: Batch) -> float:
    if batch.target is not None:
        power, error = batch.target.abs().max() ** 2, (image - batch.target).abs().square().mean()
    else:
        assert batch.loss_samples is not None
        samples, encoding = batch.loss_samples
        residual = encoding.forward(image) - samples
        power, error = samples.abs().square().sum(), residual.abs().square().sum()
    return 10 * math.log10(max(float(power / error), 1e-30)) if error.isfinite() else -math.inf
