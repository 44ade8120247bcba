"""Detection of images, and of k-space that was transformed along one axis, from the distribution of the energy.

The energy of k-space is concentrated in a narrow peak along each axis, unlike that of an image.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts import Readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import PILOT_TONE_SAMPLES

Samples = NDArray[np.complexfloating[Any, Any]]

AXES = {-2: "ky", -1: "kx"}
MAX_COILS = 8
"""Largest number of coils whose readouts are examined."""
PEAK_HALF_WIDTH = 3
"""Points on each side of the strongest one in which the energy of k-space is concentrated, even with oversampling."""
MIN_PEAK_ENERGY, CONCENTRATION_RATIO = 0.38, 2.0
"""Smallest fraction of the energy around the peak after a transform, and its smallest ratio to that before the
transform, for an array to be an image: 0.4 to 0.95 and 2.3 to 10 for images; at most 0.5 and 0.9 for k-space, except
for narrow objects and noise, with less than 0.37."""
MIN_AXIS_LENGTH, MIN_OVERSAMPLED_LENGTH = 48, 32
"""Number of points of an axis above which k-space and images differ clearly. The second value is multiplied by the
square of the oversampling, which widens the peak of k-space and narrows the image."""


def require_kspace_readouts(image: Readouts, encoding: EncodingSpace) -> None:
    """Refuse readouts that are images along kx, ky or both, as written by programs after a transform.

    One readout of each line of the middle slice is examined in the order of the line numbers, so that the result does
    not depend on the header. Readouts with a stored trajectory are treated as k-space.

    Raises
    ------
    DataError
        If a transform along an axis concentrates the energy in the middle.
    """
    readouts = image.middle_slice()
    if readouts.field("trajectory_dimensions").any():
        return
    _, readouts = max(readouts.groups("active_channels", "number_of_samples"), key=lambda group: len(group[1]))
    readouts = readouts.where(np.sort(np.unique(readouts.lines, return_index=True)[1]))
    n_coils, n_samples = (int(readouts.field(name)[0]) for name in ("active_channels", "number_of_samples"))
    if max(len(readouts), n_samples) < MIN_AXIS_LENGTH:
        return
    coils = np.unique(np.linspace(0, n_coils - 1, MAX_COILS).astype(np.intp))
    unspoiled = slice(PILOT_TONE_SAMPLES[0], -PILOT_TONE_SAMPLES[1])  # the excluded samples are similar in all lines
    frame = readouts.samples()[np.argsort(readouts.lines)][:, coils, unspoiled]  # (ky, coils, kx)
    ratios = (getattr(encoding.encoded, name)[0] / getattr(encoding.recon, name)[0] for name in ("fov_mm", "matrix"))
    axes = transformed_axes(frame.swapaxes(0, 1), max(1.0, *ratios)) if frame.size else ""
    if axes:
        what = f"the readouts are not k-space along {axes}: a Fourier transform concentrates their energy in the middle"
        hint = (
            "store the readouts as measured, before the transform to images; radial and spiral scans are not supported"
        )
        raise DataError(what, where=image.path, hint=hint)


def transformed_axes(frame: Samples, oversampling: float = 1.0) -> str:
    """The axes along which a frame is an image, as text; empty for k-space. Short axes are treated as k-space.

    Parameters
    ----------
    frame
        ``(coils, ky, kx)``
    oversampling
        Number of columns of the frame per column of the image, if known.
    """
    shortest = {"ky": MIN_AXIS_LENGTH, "kx": max(MIN_AXIS_LENGTH, MIN_OVERSAMPLED_LENGTH * oversampling**2)}
    names = (name for axis, name in AXES.items() if frame.shape[axis] >= shortest[name] and is_image_along(frame, axis))
    return " and ".join(names)


def is_image_along(array: Samples, axis: int) -> bool:
    """Whether a complex array is an image along an axis rather than k-space: a transform concentrates its energy."""
    after = _peak_energy(np.fft.fft(array, axis=axis), axis)
    return after > MIN_PEAK_ENERGY and after > CONCENTRATION_RATIO * _peak_energy(array, axis)


def _peak_energy(array: Samples, axis: int) -> float:
    """Fraction of the energy around the strongest point of an axis, treated as periodic; 0 if there is no energy."""
    power = (np.abs(np.moveaxis(array, axis, 0)) ** 2).reshape(array.shape[axis], -1).sum(1, dtype=np.float64)
    around = (int(power.argmax()) + np.arange(-PEAK_HALF_WIDTH, PEAK_HALF_WIDTH + 1)) % len(power)
    total = float(power.sum())
    return float(power[around].sum()) / total if total else 0.0
