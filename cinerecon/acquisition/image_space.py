"""Recognition of images, and of k-space that was transformed along one axis, by the distribution of their energy.

The energy of k-space is concentrated in a narrow peak along each axis, that of an image is not.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.placement import PILOT_TONE_SAMPLES
from cinerecon.acquisition.probe import middle_slice
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan

Samples = NDArray[np.complexfloating[Any, Any]]

AXES = {-2: "ky", -1: "kx"}
MAX_COILS = 8
"""Largest number of coils whose readouts are examined."""
PEAK_PART = 1 / 64
"""Part of an axis on each side of its strongest point in which the energy of k-space is concentrated."""
CONCENTRATION_RATIO = 1.5
"""Energy around the peak after a transform over that before it, from which an array was an image. In k-space it is at
most 0.9, or 1.3 if readouts of fewer than 50 columns are oversampled; in noise 1; in most images 1.7 to 20."""
MIN_AXIS_LENGTH = 48
"""Points of an axis from which k-space and images differ clearly."""


def require_kspace_readouts(raw: RawScan, image: Index) -> None:
    """Refuse readouts that are images along kx, ky or both, as programs write them after a transform.

    One readout of each line of the middle slice is examined, in the order of the line numbers, so that the header need
    not be correct. Readouts with a stored trajectory count as k-space.

    Parameters
    ----------
    raw
        The scan as stored.
    image
        Row numbers of the image readouts.

    Raises
    ------
    DataError
        If a transform along an axis concentrates the energy in the middle.
    """
    rows = middle_slice(raw, image)
    if raw.heads["trajectory_dimensions"][rows].any():
        return
    sizes = np.stack([raw.heads[name][rows] for name in ("active_channels", "number_of_samples")], 1)
    kinds, kind, counts = np.unique(sizes, axis=0, return_inverse=True, return_counts=True)
    rows = rows[kind.ravel() == counts.argmax()]
    numbers = raw.heads["idx"]["kspace_encode_step_1"]
    rows = np.sort(rows[np.unique(numbers[rows], return_index=True)[1]])
    n_coils = int(kinds[counts.argmax(), 0])
    coils = np.unique(np.linspace(0, n_coils - 1, MAX_COILS).astype(np.intp))
    unspoiled = slice(PILOT_TONE_SAMPLES[0], -PILOT_TONE_SAMPLES[1])  # the others are alike in all lines
    frame = raw.samples(rows)[np.argsort(numbers[rows])][:, coils, unspoiled]  # (ky, coils, kx)
    axes = transformed_axes(frame.swapaxes(0, 1)) if frame.size else ""
    if axes:
        what = f"the readouts are not k-space along {axes}: a transform concentrates their energy in the middle"
        hint = "store the readouts as they were measured, before the transform to images"
        raise DataError(what, where=str(raw.path), hint=hint)


def transformed_axes(frame: Samples) -> str:
    """The axes along which a frame ``(coils, ky, kx)`` is an image, as text; empty if it is k-space."""
    return " and ".join(name for axis, name in AXES.items() if is_image_along(frame, axis))


def is_image_along(array: Samples, axis: int) -> bool:
    """Whether an array is an image along an axis and not k-space: a transform concentrates its energy in a peak.

    Short axes count as k-space.

    Parameters
    ----------
    array
        Complex.
    axis
        The axis.
    """
    if array.shape[axis] < MIN_AXIS_LENGTH:
        return False
    transformed = np.fft.fft(array, axis=axis)
    return _peak_energy(transformed, axis) > CONCENTRATION_RATIO * _peak_energy(array, axis)


def _peak_energy(array: Samples, axis: int) -> float:
    """Share of the energy around the strongest point of an axis, which is taken as periodic; 0 if there is none."""
    power = (np.abs(np.moveaxis(array, axis, 0)) ** 2).reshape(array.shape[axis], -1).sum(1, dtype=np.float64)
    width, total = max(int(PEAK_PART * len(power)), 1), float(power.sum())
    around = (int(power.argmax()) + np.arange(-width, width + 1)) % len(power)
    return float(power[around].sum()) / total if total else 0.0
