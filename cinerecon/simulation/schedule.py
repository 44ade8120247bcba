"""Schedules of the readouts of a simulated scan: frame by frame, or over heartbeats of variable length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.simulation.heartbeats import Beat, Rhythm

Numbers = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The readouts of a slice in the order of acquisition, all ``(readouts,)``.

    Attributes
    ----------
    line, counter, segment
        ky line, value of the counter ``phase``, and segment.
    time_ms, since_trigger_ms
        Time since the start of the scan, and since the last R wave [ms].
    phase
        Cardiac phase of the heart at that time, 0 to 1.
    is_regular
        Whether the heart contracts as in a regular beat.
    """

    line: Index
    counter: Index
    segment: Index
    time_ms: Numbers
    since_trigger_ms: Numbers
    phase: Numbers
    is_regular: NDArray[np.bool_]


def schedule_frames(mask: Tensor, frame_times_ms: tuple[float, ...], repetition_ms: float, start_ms: float) -> Schedule:
    """Schedule of equal heartbeats, in each of which some lines of every frame are acquired, without motion in a frame.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)``
    frame_times_ms
        Time of each frame since the R wave [ms].
    repetition_ms
        Time between readouts [ms].
    start_ms
        Time of the first R wave [ms].
    """
    times = np.array(frame_times_ms)
    span_ms = (times[-1] - times[0]) / max(len(times) - 1, 1)
    per_beat = max(1, int(span_ms / repetition_ms))
    frame, line = (index.numpy() for index in mask[:, 0, :, 0].nonzero(as_tuple=True))
    count = np.arange(len(frame)) - np.searchsorted(frame, frame)
    n_beats = -(-(count.max() + 1) // per_beat)
    beat, position = count % n_beats, count // n_beats
    order = np.lexsort((position, frame, beat))
    frame, line, beat, position = (values[order] for values in (frame, line, beat, position))
    since = times[frame] + position * repetition_ms
    beat_ms = times[-1] + span_ms + repetition_ms
    is_regular = np.ones(len(frame), bool)
    return Schedule(line, frame, position, start_ms + beat * beat_ms + since, since, frame / len(times), is_regular)


def schedule_segments(
    mask: Tensor, n_segments: int, rhythm: Rhythm, beats: Iterator[Beat], repetition_ms: float
) -> Schedule:
    """Schedule of a segmented scan: the lines of one segment are repeated during each heartbeat.

    The counter numbers the repetitions from the R wave, so that its maximum is larger in long beats. As on scanners
    with arrhythmia rejection, the segment of an ectopic beat, or of a beat shortened by one, is measured again in the
    next beat; the readouts of the rejected beat are also stored.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)``; repetition c acquires the lines of frame c modulo the number of frames.
    n_segments
        Number of segments, over which the lines are evenly distributed.
    rhythm, beats
        The heart rhythm and its beats, of which as many as necessary are used.
    repetition_ms
        Time between readouts [ms].
    """
    lines = [frame.nonzero().ravel().numpy() for frame in mask[:, 0].any(-1)]
    parts = []
    for segment in range(n_segments):
        cycles = [own[segment::n_segments] for own in lines]
        is_accepted = False
        while not is_accepted:
            beat = next(beats)
            parts.append(_measure_beat(cycles, segment, rhythm, beat, repetition_ms))
            is_accepted = beat.is_regular
    return _join(parts)


def schedule_real_time(
    mask: Tensor, n_beats: int, rhythm: Rhythm, beats: Iterator[Beat], repetition_ms: float
) -> Schedule:
    """Schedule of a real-time scan: consecutive frames during several heartbeats, numbered continuously.

    The parameters are those of `schedule_segments`.
    """
    parts: list[Schedule] = []
    lines = [frame.nonzero().ravel().numpy() for frame in mask[:, 0].any(-1)]
    n_readouts = 0
    for _ in range(n_beats):
        beat = next(beats)
        parts.append(_measure_beat(lines, 0, rhythm, beat, repetition_ms, n_readouts))
        n_readouts += len(parts[-1].line)
    joined = _join(parts)
    last = joined.counter[-1]  # may be incomplete at the end of the scan
    is_whole = (joined.counter == last).sum() == len(lines[last % len(lines)])
    return joined if is_whole or last == 0 else _chosen(joined, joined.counter < last)


def _measure_beat(
    lines: list[Index], segment: int, rhythm: Rhythm, beat: Beat, repetition_ms: float, n_before: int = 0
) -> Schedule:
    """The readouts of one beat, which repeat the lines of all frames, after ``n_before`` earlier readouts."""
    since = np.arange(0.0, beat.rr_ms, repetition_ms)
    cycle_line = np.concatenate(lines)
    cycle_frame = np.repeat(np.arange(len(lines)), [len(own) for own in lines])
    number = n_before + np.arange(len(since))
    repetition, index = number // len(cycle_line), number % len(cycle_line)
    return Schedule(
        line=cycle_line[index],
        counter=repetition * len(lines) + cycle_frame[index],
        segment=np.full(len(since), segment),
        time_ms=beat.start_ms + since,
        since_trigger_ms=since,
        phase=rhythm.phase(beat, since),
        is_regular=np.full(len(since), not beat.is_ectopic),
    )


def _join(parts: list[Schedule]) -> Schedule:
    return Schedule(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _chosen(schedule: Schedule, is_chosen: NDArray[np.bool_]) -> Schedule:
    return Schedule(**{name: values[is_chosen] for name, values in vars(schedule).items()})


def sample_lines(kspace: Tensor, schedule: Schedule) -> Tensor:
    """Sample the lines of a schedule at their cardiac phases, from the k-space of a cine of one heartbeat.

    Between frames, the signal is interpolated by a periodic cubic spline (Catmull and Rom); frame f of n has the
    cardiac phase f / n.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    schedule
        The lines and their times.

    Returns
    -------
    ``(readouts, coils, kx)``
    """
    n_frames = len(kspace)
    position = schedule.phase * n_frames
    nearest = np.round(position)
    position = np.where(np.abs(position - nearest) < 1e-6, nearest, position)
    first = np.floor(position).astype(np.int64)
    t = torch.from_numpy((position - first).astype(np.float32))[:, None, None]
    line = torch.from_numpy(schedule.line)

    def frame(offset: int) -> Tensor:
        return kspace[torch.from_numpy((first + offset) % n_frames), :, line]

    if not bool(t.any()):
        return frame(0)
    before, after = (1 - t) ** 2 * t / -2, t**2 * (1 - t) / -2
    own, following = 1 - 2.5 * t**2 + 1.5 * t**3, 0.5 * t + 2 * t**2 - 1.5 * t**3
    return before * frame(-1) + own * frame(0) + following * frame(1) + after * frame(2)
