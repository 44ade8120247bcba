"""The order in which a sequence acquires the lines of a mask: frame and ky line of each readout over time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import ConfigError, nearest_name
from cinerecon.physics.sampling.drawing import Flags
from cinerecon.physics.sampling.measure import acs_block, samples_whole_readouts

Lines = NDArray[np.int64]


def linear(lines: Lines, _: "LineOrder") -> Lines:
    """From the first line to the last."""
    return lines


def centre_out(lines: Lines, order: "LineOrder") -> Lines:
    """From the centre of k-space to both sides; zero frequency is at ky // 2."""
    return lines[np.argsort(np.abs(lines - order.ky // 2), kind="stable")]


def interleaved(lines: Lines, order: "LineOrder") -> Lines:
    """Every n-th line, followed by the next lines, etc.; n is the number of segments, at least 2."""
    step = max(order.n_segments, 2)
    return np.concatenate([lines[first::step] for first in range(step)])


WITHIN_FRAME: dict[str, Callable[[Lines, "LineOrder"], Lines]] = {
    "linear": linear,
    "alternating": linear,
    "centre-out": centre_out,
    "interleaved": interleaved,
}
"""Orders by name, with the function that sorts the ascending lines of a frame."""
PATTERN = "pattern"
"""The order in which the pattern itself draws its lines, e.g. CAVA."""
ORDERS = (*WITHIN_FRAME, PATTERN)


@dataclass(frozen=True)
class LineOrder:
    """An order of lines, before the mask is known.

    Attributes
    ----------
    name
        One of `ORDERS`. ``alternating`` is linear, with reversed order in every second frame, segment by segment.
    ky
        Number of lines of k-space.
    n_segments
        Number of heartbeats over which the lines of each frame are distributed, for a segmented cine; 1 in real time.
    tr_ms
        Time between readouts [ms].
    rr_ms
        Time between heartbeats [ms]; None means the duration of the readouts.
    acs_first
        Whether the central lines sampled in all frames are acquired first in each frame.
    """

    name: str
    ky: int
    n_segments: int
    tr_ms: float
    rr_ms: float | None
    acs_first: bool

    def __post_init__(self) -> None:
        """Check the settings.

        Raises
        ------
        ConfigError
            If the order is unknown, or a number is not positive.
        """
        if self.name not in ORDERS:
            hint = nearest_name(self.name, list(ORDERS))
            raise ConfigError(f"unknown order of lines '{self.name}'", where="--order", hint=hint)
        if self.n_segments < 1 or not 0 < self.tr_ms < float("inf"):
            raise ConfigError(f"{self.n_segments} segments, TR {self.tr_ms:g} ms: both must be positive")


@dataclass(frozen=True)
class OrderedReadouts:
    """Readouts in temporal order, each array ``(readouts,)``.

    Attributes
    ----------
    time_ms
        Time of the readout since the first readout [ms].
    frame, ky
        Indices of the frame and of the line in the mask; zero frequency is at ky // 2.
    segment
        Index of the heartbeat.
    """

    time_ms: NDArray[np.float64]
    frame: Lines
    ky: Lines
    segment: Lines


def order_readouts(mask: Flags, order: LineOrder, drawn: Lines | None = None) -> OrderedReadouts:
    """Put the lines of a mask in temporal order.

    In each heartbeat, or segment, the frames follow each other. The duration of a frame in TR is the largest number of
    lines of a frame in a segment, so that the temporal resolution is constant.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)`` bool, with whole readouts.
    order
        The order.
    drawn
        ``(frames, lines)``, the lines in the order of the pattern, for the order ``pattern``.

    Raises
    ------
    ConfigError
        If the mask samples points, the pattern has no order, there are more segments than lines, or a heartbeat is too
        short.
    """
    if not samples_whole_readouts(mask):
        raise ConfigError(
            "a mask of single points has no line order", where="--order", hint="a pattern of whole readouts"
        )
    drawn = drawn if order.name == PATTERN else None
    if order.name == PATTERN and drawn is None:
        raise ConfigError("this pattern has no temporal order", where="--order pattern", hint="cava, or another order")
    flags = mask[:, 0, :, 0]
    most = int(flags.sum(1).max())
    if order.n_segments > max(most, 1):
        what = f"{order.n_segments} segments, but at most {most} lines in a frame"
        raise ConfigError(what, where="--segments", hint=f"--segments {max(most, 1)} or fewer")
    acs = acs_block(mask)
    rows = []
    for frame, sampled in enumerate(flags):
        lines = WITHIN_FRAME[order.name](np.flatnonzero(sampled), order) if drawn is None else drawn[frame]
        for segment, part in enumerate(np.array_split(_central_first(lines, order, acs), order.n_segments)):
            is_backwards = order.name == "alternating" and frame % 2 == 1
            ordered = _central_first(part[::-1], order, acs) if is_backwards else part
            rows += [(segment, frame, number, line) for number, line in enumerate(ordered)]
    return _timed(np.array(rows, dtype=np.int64).reshape(-1, 4), order, len(flags))


def _central_first(lines: Lines, order: LineOrder, acs: slice) -> Lines:
    """The lines, with the central lines before the others if the order specifies this."""
    if not order.acs_first:
        return lines
    is_central = (lines >= acs.start) & (lines < acs.stop)
    return np.concatenate([lines[is_central], lines[~is_central]])


def _timed(rows: Lines, order: LineOrder, n_frames: int) -> OrderedReadouts:
    """Rows of segment, frame, number in the frame, and line, ``(readouts, 4)``, with their time."""
    segment, frame, number, line = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))].T
    frame_ms = (int(number.max(initial=0)) + 1) * order.tr_ms
    beat_ms = n_frames * frame_ms
    if order.rr_ms is not None and not beat_ms <= order.rr_ms < float("inf"):
        what = f"{n_frames} frames of {frame_ms:g} ms do not fit into a heartbeat of {order.rr_ms:g} ms"
        raise ConfigError(what, where="--rr", hint="more segments, fewer frames or a shorter TR")
    time_ms = segment * (order.rr_ms or beat_ms) + frame * frame_ms + number * order.tr_ms
    return OrderedReadouts(time_ms, frame, line, segment)
