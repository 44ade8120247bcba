"""Directions of a slice in the patient (LPS), from the quaternion of a readout or from the protocol.

The quaternion (w, x, y, z) is the rotation whose columns are the directions of phase encoding, readout and slice, in
sagittal, coronal and transversal components, which are those of LPS. Readout and phase encoding are defined for the
forward Fourier transform, as in data that were converted to ISMRMRD.
"""

import numpy as np
from numpy.typing import NDArray

Directions = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Read, phase and slice direction."""


def directions_of_quaternions(quaternions: NDArray[np.floating]) -> Directions:
    """Read, phase and slice directions, ``(readouts, 3)`` each, of quaternions ``(readouts, 4)``."""
    w, x, y, z = (quaternions.astype(np.float64) / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    phase = np.stack([1 - 2 * (y**2 + z**2), 2 * (x * y + z * w), 2 * (x * z - y * w)], 1)
    read = np.stack([2 * (x * y - z * w), 1 - 2 * (x**2 + z**2), 2 * (y * z + x * w)], 1)
    across = np.stack([2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x**2 + y**2)], 1)
    return read, phase, across


def directions_of_normal(normal: NDArray[np.float64], rotation: float) -> Directions:
    """Read, phase and slice direction of a slice, from its normal and its rotation in the plane.

    Without rotation, phase encoding is along the projection of anterior to posterior in a transversal slice, of right
    to left in a coronal or sagittal one, as the scanner defines it.

    Parameters
    ----------
    normal
        ``(3,)`` sagittal, coronal and transversal component.
    rotation
        Angle [rad].
    """
    across = normal / np.linalg.norm(normal)
    sagittal, coronal, transversal = across
    main = int(np.argmax(np.abs(across.round(6)[::-1])))  # transversal before coronal before sagittal where equal
    if main == 0:
        phase = np.array([0.0, transversal, -coronal]) / np.hypot(coronal, transversal)
    elif main == 1:
        phase = np.array([coronal, -sagittal, 0.0]) / np.hypot(sagittal, coronal)
    else:
        phase = np.array([-coronal, sagittal, 0.0]) / np.hypot(sagittal, coronal)
    phase = np.cos(rotation) * phase - np.sin(rotation) * np.cross(across, phase)
    return np.cross(across, phase), phase, across
