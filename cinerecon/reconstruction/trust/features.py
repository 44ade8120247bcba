"""The features from which the error of an image is estimated without a reference: one number each, in dB for ratios.

`FEATURES` lists the features of the error models, and `CHECKS` those that are only compared with a limit, each with a
description that is reported if the value is outside its usual range.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.methods.card import Card
from cinerecon.methods.card_warnings import outside_training
from cinerecon.physics.sampling import acceleration_of, sampling_kind
from cinerecon.reconstruction.trust.artefacts import (
    displacement_values,
    edge_values,
    receiver_values,
    time_course_values,
)
from cinerecon.reconstruction.trust.consistency import (
    brightness_of,
    content_values,
    decibels,
    frame_order_values,
    frame_values,
    line_values,
    map_values,
    plausibility_values,
    repeated_sample_values,
    residual_values,
)
from cinerecon.reconstruction.trust.hold_out import Prediction, at_its_resolution, predict_held_out

FEATURES: Mapping[str, str] = {
    "acceleration": "the acceleration is high",
    "never_sampled": "part of k-space was not sampled in any frame",
    "gaps_at_centre": "part of the central k-space was not sampled in any frame (the same lines in all frames)",
    "points": "",
    "coils": "",
    "frames": "",
    "lines": "",
    "noise": "the noise is high",
    "peak": "",
    "moving_share": "much of the image changes over time",
    "high_frequencies": "the image contains much high-frequency signal",
    "background": "the background is bright",
    "predicted_psnr": "",
    "unpredicted_centre": "held-out samples near the centre of k-space are not predicted",
    "unpredicted_middle": "held-out samples are not predicted",
    "unpredicted_edge": "",
    "unpredicted_frame": "held-out samples of single frames are not predicted",
    "disagreement": "the image differs from a k-t SLR reconstruction by more than the error of the latter",
    "difference": "the image differs from a k-t SLR reconstruction",
    "residual_over_noise": "the image does not explain the measured data",
    "residual_over_signal": "",
    "residual_of_worst_frame": "single frames do not fit the measured data",
    "residual_of_worst_coil": "single coils do not fit the measured data",
    "map_misfit": "the coil maps do not fit the data",
    "map_misfit_of_worst_coil": "the map of a coil does not fit its data",
    "mismatch": "repeated samples contradict each other (motion, arrhythmia, phase or a wrong pattern)",
    "step_mismatch": "samples contradict those of the previous frame",
    "phase_mismatch": "the phase of repeated samples differs",
    "mismatch_of_worst_frame": "samples of single frames contradict those of the others",
    "line_energy": "the energy of lines differs between frames (lines at wrong positions or corrupted frames)",
    "line_displacement": "lines of k-space are displaced relative to each other (breathing or other motion between "
    "beats)",
    "time_course_mismatch": "lines of k-space disagree about the heartbeat (arrhythmia or motion)",
    "frame_change": "frames differ strongly from the next",
    "frame_change_at_most": "a frame differs from the others",
    "frame_energy": "the energy of frames varies",
    "edge_signal": "",
    "wrap_around": "signal continues across the edge of the field of view (wrap-around)",
    "rough_phase": "the phase of the image is rough (phase errors, motion or noise)",
    "ghosts": "structures of the image repeat along y (ghosts)",
    "edges": "the image is unusually rough",
    "outside_training": "the scan is outside the training of the network",
}
"""Names of the features, and the reason that is reported for a large value; empty for features that are no reason."""
CHECKS: Mapping[str, str] = {
    "spike": "single samples are far too large (spikes)",
    "saturation": "samples are cut off at the limit of the receiver",
    "silent_coil": "a coil has no signal",
    "frame_gain": "corrupted data in single frames",
    "frame_outlier": "frames are unlike both adjacent ones (wrong order, repeated or corrupted frames)",
    "frame_order": "frames are unlike both adjacent ones (wrong order, repeated or corrupted frames)",
}
"""Sufficient signs of a failure with their reasons; they depend only on the data and are not in the error models."""

MIN_NOISE = 4.5e-4
"""Noise relative to the brightness of the prediction below which features do not depend on it; a quarter of the lowest
noise of the scans in the fit."""
MIN_GAPS, REGULAR_SHARE = 4, 0.6
"""Smallest number of gaps between lines, and fraction of them with equal size, for the gaps to be regular."""


def measure_features(
    data: CineData, image: Tensor, card: Card, pattern: str = "", prediction: Prediction | None = None
) -> dict[str, float]:
    """All features and checks of a reconstructed slice; NaN if a feature is not defined.

    Parameters
    ----------
    data
        The measured data, without batch axes.
    image
        ``(frames, y, x)`` image in the units of A^H y, on the same device.
    card
        The card of the method.
    pattern
        Sampling pattern as text, if known.
    prediction
        Prediction of held-out samples, if already computed.
    """
    prediction = prediction or predict_held_out(data)
    noise_std = max(prediction.noise_std, MIN_NOISE * brightness_of(prediction.image))
    brightness = brightness_of(image)
    return {
        **_sampling_values(data),
        "noise": 2 * decibels(noise_std / brightness),
        **content_values(image, brightness),
        **_prediction_values(prediction, image),
        **residual_values(data, image, noise_std),
        **map_values(data),
        **repeated_sample_values(data, noise_std),
        **line_values(data, noise_std),
        **frame_values(image),
        **edge_values(data, image, brightness),
        **displacement_values(data),
        **time_course_values(data, noise_std),
        **plausibility_values(image),
        "outside_training": float(len(outside_training(card, data, pattern))),
        **measure_checks(data, prediction),
    }


def measure_checks(data: CineData, prediction: Prediction) -> dict[str, float]:
    """The features in `CHECKS` of a slice; NaN if a feature is not defined."""
    return {**receiver_values(data, prediction.noise_std), **frame_order_values(prediction.image)}


def _sampling_values(data: CineData) -> dict[str, float]:
    rows, columns = data.meta.extent or (slice(None), slice(None))
    sampled = data.mask.any(0)[0][rows, columns if data.mask.shape[-1] > 1 else slice(None)]
    return {
        "acceleration": math.log2(acceleration_of(data)[0]),
        "never_sampled": 1 - float(sampled.float().mean()),
        "gaps_at_centre": gaps_at_centre(sampled),
        "points": float(sampling_kind(data.mask) == "points"),
        "coils": math.log2(data.n_coils),
        "frames": math.log2(data.n_frames),
        "lines": math.log2(data.matrix[0]),
    }


def gaps_at_centre(sampled: Tensor) -> float:
    """Fraction of the central half of k-space that no frame sampled; 0 if the gaps between lines are regular.

    Parallel imaging samples regular lines, which may be the same in all frames. Irregular masks are designed to differ
    between frames, so that together they fill k-space.

    Parameters
    ----------
    sampled
        ``(ky, kx or 1)``, union of the samples of all frames.
    """
    size = max(1, sampled.shape[0] // 2), max(1, sampled.shape[1] // 2)
    central = centre_crop(sampled, size)
    if not bool((sampled == sampled[:, :1]).all()):
        return 1 - float(central.float().mean())
    steps = central[:, 0].nonzero().ravel().diff()
    gaps = steps[steps > 1]
    is_regular = len(gaps) >= MIN_GAPS and float((gaps == gaps.mode().values).float().mean()) >= REGULAR_SHARE
    return 0.0 if is_regular or not len(gaps) else 1 - len(steps) / int(steps.sum())


def _prediction_values(prediction: Prediction, image: Tensor) -> dict[str, float]:
    """Errors of held-out samples [dB], and the difference between the image and the prediction."""
    image = at_its_resolution(image)
    peak = float(image.abs().max())
    difference = float(torch.view_as_real(image - prediction.image).square().sum(-1).mean())
    power = float(torch.view_as_real(image).square().sum(-1).mean())
    centre, inner, middle, edge = (float(value) for value in prediction.share_by_ring)
    known = [value for value in (centre, inner) if math.isfinite(value)]
    by_frame = prediction.error_by_frame[~prediction.error_by_frame.isnan()]
    return {
        "predicted_psnr": decibels(peak**2 / max(prediction.mean_square_error, 1e-30)),
        "unpredicted_centre": decibels(max(known)) if known else math.nan,
        "unpredicted_middle": decibels(middle),
        "unpredicted_edge": decibels(edge),
        "unpredicted_frame": decibels(float(by_frame.max())) if len(by_frame) else math.nan,
        "disagreement": decibels(difference / max(prediction.mean_square_error, 1e-30)),
        "difference": decibels(difference / max(power, 1e-30)),
    }
