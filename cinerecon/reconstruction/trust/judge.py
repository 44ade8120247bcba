"""The verdict on a reconstructed slice."""

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.sampling import acceleration_of
from cinerecon.reconstruction.trust.calibration import calibration_of
from cinerecon.reconstruction.trust.features import measure_features
from cinerecon.verdict import Verdict

MIN_FRAMES, MIN_MATRIX, MIN_ACCELERATION = 8, 64, 1.5
"""Smallest cines that are judged, and the least acceleration: smaller ones are unlike those of the calibration."""


def judge_slice(data: CineData, image: Tensor, method: Reconstructor, label: str, pattern: str = "") -> Verdict | None:
    """The verdict on an image; None if the method is not calibrated, or the cine is too small or hardly accelerated.

    Parameters
    ----------
    data
        The measured data, without batch axes.
    image
        ``(frames, y, x)``, in the units of A^H y.
    method
        What made it.
    label
        Its name.
    pattern
        Sampling pattern as text, where it is known.
    """
    calibration = calibration_of(label)
    is_small = data.n_frames < MIN_FRAMES or min(data.matrix) < MIN_MATRIX
    if calibration is None or is_small or acceleration_of(data)[0] < MIN_ACCELERATION:
        return None
    with torch.inference_mode():
        features = measure_features(data, image.to(data.kspace.device), method.card, pattern)
    return calibration.judge(features)
