"""Frames of a scan by time: consecutive readouts in real time, or lines interpolated between their cardiac phases.

A line of a segmented scan is measured repeatedly during a beat, at phases that differ from line to line. As on
scanners, each line of a frame is interpolated between measurements before and after the frame (Feinstein et al.,
Retrospective cardiac gating, 1997, 10.1002/mrm.1910380502 compares such schemes). If several measurements are within
one frame duration of it, a parabola is fitted to them with weights that decrease with distance (local polynomial
regression, Cleveland, Robust locally weighted regression, 1979, 10.1080/01621459.1979.10481038). The parabola averages
noise and preserves the curvature of the motion, which a mean or a straight line would flatten. Otherwise, the two
measurements on each side determine a cubic polynomial. Linear interpolation is used if the polynomial would amplify
noise.

Lines of undersampled scans are not measured often enough for interpolation, since motion between distant measurements
is not linear. A frame then uses the mean of the measurements of a line that fall into it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.gating.clock import Clock
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.io.ismrmrd.raw import Index

Numbers = NDArray[np.float64]

HALF_WIDTH = 0.75
"""Distance from a frame within which measurements on one side are averaged for linear interpolation [frames]."""
FIT_WIDTH = 1.1
"""Distance from a frame within which a parabola is fitted [frames]."""
FEWEST_FITTED = 4
"""Smallest number of measurements for a parabola, one more than its number of coefficients."""
CUBIC_WIDTH = 2.5
"""Largest distance between the four measurements of a cubic polynomial and the frame [frames]."""
LARGEST_NOISE = 0.8
"""Largest sum of squared weights, which is the noise variance relative to that of one measurement."""
LONGEST_GAP = 3.0
"""Longest time between two measurements of a line that is interpolated [frames]."""
DENSE_FRACTION = 0.9
"""Smallest fraction of lines, over all frames, with measurements close enough for interpolation."""
COUNTERS = ("average", "repetition", "phase")
"""Counters whose change marks the start of a frame."""
MIN_LINES = 2
"""Smallest mean number of readouts per frame for the counters to be used."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """Readouts, frames and weights, all ``(contributions,)``; the weights of each line of a frame sum to 1."""

    readout: Index
    frame: Index
    weight: Numbers


def is_dense(lines: Index, phase: Numbers, n_frames: int) -> bool:
    """Whether most lines are measured often enough for interpolation.

    Parameters
    ----------
    lines
        ``(readouts,)``, the same number for measurements of the same line of the same slice.
    phase
        ``(readouts,)`` cardiac phase from 0 to 1; NaN for readouts that are not used.
    n_frames
        Number of frames.
    """
    n_close = n_all = 0
    for rows in _by_line(lines):
        n_all += n_frames
        own = phase[rows][np.isfinite(phase[rows])]
        if own.size:
            before, after = _nearest(_distances(own, n_frames))
            n_close += int((before + after <= LONGEST_GAP).sum())
    return n_close >= DENSE_FRACTION * n_all


def interpolate(lines: Index, phase: Numbers, n_frames: int, *, dense: bool) -> Contributions:
    """Weights of the readouts in each frame; frame f of n is at cardiac phase f / n.

    Parameters
    ----------
    lines, phase, n_frames
        See `is_dense`.
    dense
        Whether to interpolate lines instead of averaging the measurements in each frame.
    """
    readouts, frames, weights = [], [], []
    for rows in _by_line(lines):
        own = rows[np.isfinite(phase[rows])]
        if own.size == 0:
            continue
        distance = _distances(phase[own], n_frames)
        weight = _binned(distance)
        if dense:
            before, after = _nearest(distance)
            is_close = before + after <= LONGEST_GAP
            weight[is_close] = _interpolated(distance[is_close])
        frame, index = np.nonzero(weight)
        readouts.append(own[index])
        frames.append(frame)
        weights.append(weight[frame, index])
    if not readouts:
        empty = np.empty(0, np.intp)
        return Contributions(empty, empty, np.empty(0))
    return Contributions(np.concatenate(readouts), np.concatenate(frames), np.concatenate(weights))


def _by_line(lines: Index) -> list[Index]:
    """The readouts of each line."""
    order = np.argsort(lines, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(lines[order])) + 1)


def _distances(phase: Numbers, n_frames: int) -> Numbers:
    """Time from each frame to each measurement, ``(frames, measurements)`` [frames], with periodic beats."""
    difference = phase[None] * n_frames - np.arange(n_frames)[:, None]
    return (difference + n_frames / 2) % n_frames - n_frames / 2


def _nearest(distance: Numbers) -> tuple[Numbers, Numbers]:
    """Distances to the nearest measurements before and after each frame, ``(frames,)`` [frames]."""
    before = np.where(distance <= 0, -distance, np.inf).min(1)
    after = np.where(distance > 0, distance, np.inf).min(1)
    return before, after


def _binned(distance: Numbers) -> Numbers:
    """Weights for the mean of the measurements within half a frame; 0 in frames without measurements."""
    weight = ((distance >= -0.5) & (distance < 0.5)) * (1 - np.abs(distance))
    total = weight.sum(1, keepdims=True)
    relative: Numbers = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    return relative


def _interpolated(distance: Numbers) -> Numbers:
    """Weights of a parabola, a cubic polynomial or linear interpolation, whichever is possible first."""
    weight = _straight(distance)
    for better in (_cubic(distance), _parabola(distance)):
        is_possible = (better**2).sum(1) <= LARGEST_NOISE  # NaN if it is not determined
        weight[is_possible] = better[is_possible]
    return weight


def _parabola(distance: Numbers) -> Numbers:
    """Weights of the parabola fitted to the measurements around each frame; NaN if there are too few."""
    kernel = np.clip(1 - (distance / FIT_WIDTH) ** 2, 0, None)
    is_near = kernel > 0
    has_sides = [(is_near & is_side).any(1) for is_side in (distance <= 0, distance > 0)]
    is_enough = (is_near.sum(1) >= FEWEST_FITTED) & has_sides[0] & has_sides[1]
    weight = np.full_like(distance, np.nan)
    near, kernel = distance[is_enough], kernel[is_enough]
    powers = near[..., None] ** np.arange(3)  # (frames, measurements, 3)
    normal = np.einsum("fmi,fm,fmj->fij", powers, kernel, powers)
    is_regular = np.linalg.det(normal) > 1e-9 * kernel.sum(1) ** 3
    coefficients = np.linalg.inv(normal[is_regular])[:, :, 0]  # weights for the value at the frame
    weight[np.flatnonzero(is_enough)[is_regular]] = kernel[is_regular] * np.einsum(
        "fmi,fi->fm", powers[is_regular], coefficients
    )
    return weight


def _cubic(distance: Numbers) -> Numbers:
    """Weights of the polynomial through the two nearest measurements on each side of each frame; NaN without them."""
    weight = np.full_like(distance, np.nan)
    if distance.shape[1] < FEWEST_FITTED:
        return weight
    sides = [np.where(is_side, np.abs(distance), np.inf) for is_side in (distance <= 0, distance > 0)]
    nearest = np.concatenate([np.argsort(side, axis=1, kind="stable")[:, :2] for side in sides], 1)
    reach = np.concatenate(
        [np.take_along_axis(s, n, 1) for s, n in zip(sides, np.split(nearest, 2, 1), strict=True)], 1
    )
    position = np.take_along_axis(distance, nearest, 1)
    is_determined = (reach <= CUBIC_WIDTH).all(1) & (np.diff(np.sort(position, 1), axis=1) > 0).all(1)
    rows, position = np.flatnonzero(is_determined), position[is_determined]
    weight[rows] = 0.0
    for own in range(4):
        others = np.delete(position, own, axis=1)
        weight[rows, nearest[rows, own]] = np.prod(-others / (position[:, [own]] - others), axis=1)
    return weight


def _straight(distance: Numbers) -> Numbers:
    """Weights of linear interpolation between the mean measurements before and after each frame."""
    kernel = np.clip(1 - np.abs(distance) / HALF_WIDTH, 0, None)
    sides = []
    for is_side in (distance <= 0, distance > 0):
        nearest = np.abs(np.where(is_side, distance, np.inf)).argmin(1)
        weight = kernel * is_side
        is_empty = weight.sum(1) == 0
        weight[is_empty, nearest[is_empty]] = 1.0
        sides.append(weight / weight.sum(1, keepdims=True))
    before, after = (np.abs((weight * distance).sum(1, keepdims=True)) for weight in sides)
    span = before + after
    combined: Numbers = sides[0] * (after / span) + sides[1] * (before / span)
    return combined


def number_frames(readouts: Readouts, clock: Clock | None, n_lines: int | None) -> Index:
    """Number the frames of each slice from 0, in temporal order.

    A frame is a series of readouts with the same counters or, if the counters are constant, of readouts up to the first
    line that occurs again.

    If ``n_lines`` is given, every frame has this number of readouts. Without a clock, the file order is used as
    temporal order.

    Returns
    -------
    ``(readouts,)`` frame of each readout.
    """
    idx = readouts.field("idx")
    numbers = np.zeros(len(idx), np.intp)
    for value in np.unique(idx["slice"]):
        own = np.flatnonzero(idx["slice"] == value)
        if clock is not None:
            own = own[np.argsort(clock.time_ms[own], kind="stable")]
        numbers[own] = _number(idx[own], n_lines)
    return numbers


def _number(idx: np.ndarray, n_lines: int | None) -> Index:
    """Frame numbers of the readouts of one slice in temporal order."""
    if n_lines is not None:
        return np.minimum(np.arange(len(idx)) // n_lines, max(len(idx) // n_lines - 1, 0))
    counters = np.stack([idx[name].astype(np.int64) for name in COUNTERS], 1)
    changes = (np.diff(counters, axis=0) != 0).any(1)
    runs = np.concatenate([[0], np.cumsum(changes)])
    if 0 < runs[-1] < len(idx) / MIN_LINES:
        return runs
    return _until_repeated(idx["kspace_encode_step_1"].astype(int))


def _until_repeated(lines: np.ndarray) -> Index:
    """Frame numbers, where a new frame starts at the first line that occurs again."""
    numbers, frame, seen = np.zeros(len(lines), np.intp), 0, set[int]()
    for i, line in enumerate(lines.tolist()):
        if line in seen:
            frame += 1
            seen.clear()
        seen.add(line)
        numbers[i] = frame
    return numbers
