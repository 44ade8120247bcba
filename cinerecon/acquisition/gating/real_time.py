"""Frames of a real-time scan: consecutive readouts in temporal order."""

import numpy as np

from cinerecon.acquisition.gating.clock import Clock
from cinerecon.acquisition.readouts import Readouts
from cinerecon.io.ismrmrd.raw import Index

COUNTERS = ("average", "repetition", "phase")
"""Counters whose change marks the start of a frame."""
MIN_LINES = 2
"""Smallest mean number of readouts per frame for the counters to be used."""


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
