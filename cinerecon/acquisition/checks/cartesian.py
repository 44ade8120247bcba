"""Checks that readouts are 2-D Cartesian k-space: by the header, the stored trajectory, and the energy of the samples.

The energy of k-space is concentrated in a narrow peak along each axis, unlike that of an image. Data that were
transformed along an axis are therefore recognised by a transform.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError, UnsupportedError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import PILOT_TONE_SAMPLES, REVERSE, flag_bit

Samples = NDArray[np.complexfloating[Any, Any]]

LARGEST_LINE_ERROR = 0.1
"""Largest distance between a readout of the stored trajectory and its line, as a fraction of the line spacing."""
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


def require_cartesian_header(image: Readouts, encoding: EncodingSpace) -> None:
    """Check that the trajectory is Cartesian according to the header.

    Raises
    ------
    UnsupportedError
        If the header specifies another trajectory.
    """
    if encoding.trajectory not in ("cartesian", ""):
        coordinates = ", with stored coordinates" if image.field("trajectory_dimensions").any() else ""
        needs = " (needs phase correction and regridding)" if encoding.trajectory == "epi" else ""
        name = encoding.trajectory.upper() if encoding.trajectory == "epi" else encoding.trajectory
        what = f"the trajectory is {name}{coordinates}{needs}, only Cartesian scans are supported"
        raise UnsupportedError(what, where=image.path)


def require_cartesian(image: Readouts) -> None:
    """Check that the scan is 2-D and, if a trajectory is stored, that it is Cartesian.

    A stored trajectory is Cartesian if all readouts have the same uniform step along the first coordinate and constant
    other coordinates, and if the second coordinate is proportional to the line number. Readouts that run backwards
    according to the trajectory are flagged as reversed in the headers of the scan.

    Raises
    ------
    UnsupportedError
        If the stored trajectory is not Cartesian, or the scan is 3-D.
    """
    encoding = image.encoding
    partitions = np.unique(image.counter("kspace_encode_step_2"))
    depth = max(encoding.encoded.matrix[2], len(partitions))
    if depth > 1:
        what = (
            f"a 3-D scan ({depth} partitions in encodedSpace z, {len(partitions)} in the data), only 2-D slices are "
            "supported"
        )
        hint = "a 2-D scan has encodedSpace z = 1" if len(partitions) == 1 else ""
        raise UnsupportedError(what, where=image.path, hint=hint)
    if not _has_trajectory(image):
        return
    stored = image.where(image.field("trajectory_dimensions") > 0)
    steps, positions = _readout_steps(stored)
    spacing = _require_on_lines(stored, positions)
    backward = stored.rows[steps < 0]
    if 0 < backward.size < len(stored) and not stored.has_flag(REVERSE).any():
        image.warn(
            f"{backward.size} of {len(stored)} readouts run backwards according to their trajectory: they are "
            "treated as reversed"
        )
        image.raw.heads["flags"][backward] |= flag_bit(REVERSE)
    is_mirrored_x = bool(((steps < 0) != stored.has_flag(REVERSE)).all())
    if spacing and is_mirrored_x != (spacing < 0):
        axis, what = ("x", "the readouts run") if is_mirrored_x else ("y", "the line numbers run")
        image.warn(
            f"by the stored trajectory {what} in the opposite direction along k{axis}, but not along the other "
            "axis: the image is mirrored, or the trajectory has the opposite sign"
        )


def _has_trajectory(readouts: Readouts) -> bool:
    """Whether a trajectory is stored; some programs store zeros with the readouts of Cartesian scans."""
    stored = readouts.where(readouts.field("trajectory_dimensions") > 0)
    return any(points.any() for _, points in stored.raw.trajectories(stored.rows))


def _readout_steps(readouts: Readouts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step along the first coordinate, and mean of the second coordinate or 0, both ``(readouts,)``."""
    common: float | None = None
    steps, positions = np.zeros(len(readouts)), np.zeros(len(readouts))
    for block, points in readouts.raw.trajectories(readouts.rows):
        change = np.diff(points[:, :, 0], axis=1)
        step = np.median(change, axis=1)
        common = float(np.abs(step[0])) if common is None else common
        bend = np.abs(change - step[:, None]).max(1)
        drift = np.ptp(points[:, :, 1:], axis=1).max(1, initial=0.0)
        worst = np.maximum(np.maximum(bend, drift), np.abs(np.abs(step) - common))
        deviating = np.flatnonzero(~(worst < 0.05 * common))
        if deviating.size:
            what = "the header gives a Cartesian scan, but the stored trajectory is not uniform along parallel lines"
            hint = "radial, spiral and ramp-sampled scans need regridding first"
            raise UnsupportedError(what, where=readouts.raw.at(block[deviating[0]]), hint=hint)
        index = np.searchsorted(readouts.rows, block)
        steps[index] = step
        positions[index] = points[:, :, 1].mean(1) if points.shape[2] > 1 else 0.0
    return steps, positions


def _require_on_lines(readouts: Readouts, positions: NDArray[np.float64]) -> float:
    """Check that the second coordinate of the trajectory is proportional to the line number, unless it is constant.

    Returns the line spacing in units of the trajectory; 0 if it is unknown.
    """
    lines = readouts.lines.astype(np.float64)
    if len(readouts) == 0 or np.ptp(positions) == 0 or np.ptp(lines) == 0:
        return 0.0
    spacing, _ = np.polyfit(lines, positions, 1)
    error = np.abs(positions - positions.mean() - spacing * (lines - lines.mean()))
    worst = int(error.argmax())
    if error[worst] > LARGEST_LINE_ERROR * abs(spacing):
        what = (
            f"by the stored trajectory line {lines[worst]:.0f} is {error[worst] / max(abs(spacing), 1e-30):.2g} "
            "line spacings away from the Cartesian grid"
        )
        raise UnsupportedError(
            what, where=readouts.at(worst), hint="scans that are not on a grid need regridding first"
        )
    return float(spacing)


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
    if _has_trajectory(readouts):
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
