"""The verdict on a reconstructed slice."""

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import CHECKSUM, WEIGHTS, hash_weights, models_folder, read_metadata
from cinerecon.physics.sampling import acceleration_of
from cinerecon.reconstruction.trust.calibration import calibration_of
from cinerecon.reconstruction.trust.features import measure_features
from cinerecon.verdict import Verdict

MIN_FRAMES, MIN_MATRIX, MIN_ACCELERATION = 8, 64, 1.5
"""Smallest cines that are judged, and the least acceleration: smaller ones are unlike those of the calibration."""


def is_judged(data: CineData, method: Reconstructor, label: str) -> bool:
    """Whether images of a method have a verdict, and the cine is large enough and accelerated.

    The verdict was calibrated with the shipped weights: another network of the same name, e.g. in a run folder, has
    none.
    """
    is_large = data.n_frames >= MIN_FRAMES and min(data.matrix) >= MIN_MATRIX
    is_calibrated = calibration_of(label) is not None and _has_shipped_weights(method, label)
    return is_calibrated and is_large and acceleration_of(data)[0] >= MIN_ACCELERATION


def _has_shipped_weights(method: Reconstructor, label: str) -> bool:
    """Whether a method has the weights that come with the program under a name; classical methods have none."""
    path = models_folder() / label / WEIGHTS
    shipped = read_metadata(path).get(CHECKSUM) if path.is_file() else ""
    return (hash_weights(method.weights) if method.weights else "") == shipped


def judge_slice(data: CineData, image: Tensor, method: Reconstructor, label: str, pattern: str = "") -> Verdict | None:
    """The verdict on an image, where `is_judged` holds; None if the method is not calibrated.

    Parameters
    ----------
    data
        The measured data, without batch axes.
    image
        ``(frames, y, x)``, in the units of A^H y.
    method
        The method that reconstructed it.
    label
        Its name.
    pattern
        Sampling pattern as text, where it is known.
    """
    calibration = calibration_of(label)
    if calibration is None:
        return None
    with torch.inference_mode():
        features = measure_features(data, image.to(data.kspace.device), method.card, pattern)
    return calibration.judge(features)
