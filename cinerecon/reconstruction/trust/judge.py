"""The verdict on a reconstructed slice."""

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import CHECKSUM, WEIGHTS, hash_weights, models_folder, read_metadata, read_model
from cinerecon.methods.table import find_method
from cinerecon.physics.sampling import acceleration_of
from cinerecon.reconstruction.trust.calibration import Calibration, calibration_of
from cinerecon.reconstruction.trust.features import measure_features
from cinerecon.verdict import Verdict

MIN_FRAMES, MIN_MATRIX, MIN_ACCELERATION = 8, 64, 1.5
"""Smallest size and acceleration of a cine with a verdict; smaller ones differ from those of the calibration."""


def method_without_verdict(method: Reconstructor, label: str) -> str:
    """Reason why images of a method have no verdict; empty if they have one.

    The verdict was calibrated for the provided weights and the default settings. Another network with the same name,
    e.g. in a run folder, and other settings have no verdict.
    """
    if calibration_of(label) is None:
        return f"{label} has no verdict"
    path = models_folder() / label / WEIGHTS
    shipped = read_metadata(path).get(CHECKSUM) if path.is_file() else ""
    if (hash_weights(method.weights) if method.weights else "") != shipped:
        return f"{label} does not have the shipped weights"
    if not shipped and type(method) is not find_method(label).load():
        return f"{label} is not the method of that name in the package"
    calibrated = read_model(label)[0] if shipped else find_method(label).config_class()
    if _image_settings(method.config) != _image_settings(calibrated):
        return f"{label} does not have the default settings"
    return ""


def slice_without_verdict(data: CineData) -> str:
    """Reason why images of a slice have no verdict for any method; empty if it is large and accelerated enough."""
    if data.n_frames < MIN_FRAMES:
        return f"fewer than {MIN_FRAMES} frames"
    if min(data.matrix) < MIN_MATRIX:
        return f"fewer than {MIN_MATRIX} lines or columns"
    return f"acceleration below {MIN_ACCELERATION}" if acceleration_of(data)[0] < MIN_ACCELERATION else ""


def _image_settings(config: Config) -> dict[str, object]:
    """The type of a configuration, and its settings that affect images."""
    return {"type": type(config), **config.model_dump(exclude={"card", "training", "precision", "coils_at_once"})}


def judge_slice(
    data: CineData, image: Tensor, method: Reconstructor, calibration: Calibration, pattern: str = ""
) -> Verdict:
    """The verdict on an image whose method and slice allow one.

    Parameters
    ----------
    data
        The measured data, without batch axes.
    image
        ``(frames, y, x)`` image in the units of A^H y.
    method
        The method that reconstructed the image.
    calibration
        The calibration of the method.
    pattern
        Sampling pattern as text, if known.
    """
    with torch.inference_mode():
        features = measure_features(data, image.to(data.kspace.device), method.card, pattern)
    return calibration.judge(features)
