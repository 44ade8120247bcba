"""Check that a scan is 2-D Cartesian according to its header and the stored trajectory."""

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts import Readouts
from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import REVERSE, flag_bit

LARGEST_LINE_ERROR = 0.1
"""Largest distance between a readout of the stored trajectory and its line, as a fraction of the line spacing."""


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
    is_mirrored_x = bool(len(stored) and ((steps < 0) != stored.has_flag(REVERSE)).all())
    if spacing and is_mirrored_x != (spacing < 0):
        axis, what = ("x", "the readouts run") if is_mirrored_x else ("y", "the line numbers run")
        image.warn(
            f"by the stored trajectory {what} in the opposite direction along k{axis}, but not along the other "
            "axis: the image is mirrored, or the trajectory has the opposite sign"
        )


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
