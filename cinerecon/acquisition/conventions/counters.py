"""Correction of counters that number parts of one image, and of missing counters.

Heartbeats that were numbered as repetitions are merged, and so are the counters that a setting names. A missing counter
is detected when several images have the same line numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.readouts.counters import COUNTERS
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.header import Limit
from cinerecon.io.ismrmrd.raw import Index, RawScan

MAX_SHARED_FRACTION = 0.5
"""Largest fraction of lines that several values of a counter may share to be merged as parts of one image."""
MAX_PART_FRACTION = 0.75
"""Largest fraction of the lines of an image that one value of such a counter may have."""

SAME_POSITION = 0.1
"""Largest difference of positions [mm] and directions between readouts of one slice."""


def combine_counters(raw: RawScan, counters: Iterable[str]) -> RawScan:
    """Set to 0 the counters that the settings declare as numbering parts or averages of one image."""
    for counter in counters:
        raw.heads["idx"][counter] = 0
    return _with_limits(raw, dict.fromkeys(counters))


def move_time(raw: RawScan, counter: str) -> RawScan:
    """Move the counter that the settings declare as time to ``phase``; the previous phases are merged."""
    if counter == "auto":
        return raw
    idx, limits = raw.heads["idx"], raw.header.encoding.limits
    if counter == "phase":
        return combine_counters(raw, ["repetition"])
    limit = limits.get(counter)
    if limit is not None and limit.maximum < idx[counter].max():
        limit = None  # the limit in the header belongs to another use of the counter
    idx["phase"] = idx[counter]
    idx[counter] = 0
    return _with_limits(raw, {"phase": limit, counter: None})


def _with_limits(raw: RawScan, limits: Mapping[str, Limit | None]) -> RawScan:
    """Replace the limits of some counters in the header; None removes a limit."""
    encoding = raw.header.encoding
    changed = {name: limit for name, limit in {**encoding.limits, **limits}.items() if limit is not None}
    return raw.with_encodings(replace(encoding, limits=changed))


def merge_segments(readouts: Readouts) -> None:
    """Merge heartbeats of a segmented cine that were numbered as repetitions, or as phases of each repetition.

    The heartbeats are parts of one image if no repetition is a complete image: each measures different lines of the
    same cardiac phases.
    """
    n_values = {name: readouts.n_values(name) for name in ("phase", "repetition")}
    if min(n_values.values()) == 1:
        return
    for segments, time in (("repetition", "phase"), ("phase", "repetition")):
        if _counts_slices(readouts, segments):
            readouts.warn(f"{segments} has one value in each slice: it counts the slices and is not used")
        elif _are_parts(readouts, segments, ("slice", time)):
            readouts.warn(
                f"{n_values[segments]} values of {segments} contain different lines of the same {time}: they are "
                f"merged as segments of one image; --set preprocessing.select.{segments}=... reads only one"
            )
        else:
            continue
        readouts.raw.heads["idx"][segments] = 0
        return


def _counts_slices(readouts: Readouts, counter: str) -> bool:
    """Whether a counter has one value in each slice."""
    pairs = np.stack([readouts.counter("slice"), readouts.counter(counter)], 1)
    return len(np.unique(pairs, axis=0)) == readouts.n_values("slice")


def merge_slices(readouts: Readouts) -> Readouts:
    """Merge parts of one slice that were numbered as slices: all have the same position and each has different lines.

    Returns the readouts with the corrected limit of the counter.
    """
    n_slices, names = readouts.n_values("slice"), ("position", "read_dir", "phase_dir", "slice_dir")
    geometry = np.concatenate([readouts.field(name) for name in names], axis=1)
    is_one_position = bool(geometry[0, 3:].any() and np.ptp(geometry, axis=0).max() < SAME_POSITION)
    if n_slices == 1 or not is_one_position:
        return readouts
    if _is_one_frame(readouts) and _count_repeats(readouts, without="slice").counts.max() > 1:
        return _slices_as_frames(readouts, n_slices)
    if _are_parts(readouts, "slice", ("phase", "repetition")):
        what = f"{n_slices} slices have the same position, and each has different lines"
        readouts.warn(f"{what}: they are merged as segments of one slice")
        return readouts.with_raw(combine_counters(readouts.raw, ["slice"]))
    return readouts


def _is_one_frame(readouts: Readouts) -> bool:
    return readouts.n_values("phase") == readouts.n_values("repetition") == 1


def _slices_as_frames(readouts: Readouts, n_slices: int) -> Readouts:
    """Interpret single-frame slices at one position as frames, if the header has as many phases or repetitions."""
    what = f"{n_slices} slices have the same position, and each has one frame"
    limits = readouts.encoding.limits
    for name in ("phase", "repetition"):
        if name in limits and limits[name].n_values == n_slices:
            readouts.warn(f"{what}: they are read as the {n_slices} values of {name} in the header")
            return readouts.with_raw(move_time(readouts.raw, "slice"))
    hint = (
        "--set preprocessing.time_counter=slice reads them as frames; "
        "--set preprocessing.select.slice=0 reads one of them"
    )
    raise UnsupportedError(f"{what}: are they frames?", where=readouts.path, hint=hint)


def require_whole_images(readouts: Readouts, counter: str) -> None:
    """Check that each set or contrast is a complete image rather than a part of one with other lines.

    Raises
    ------
    UnsupportedError
        If they are parts; the error names the setting that merges them.
    """
    n_values = readouts.n_values(counter)
    if n_values > 1 and _are_parts(readouts, counter, ("slice", "phase", "repetition")):
        what = (
            f"{n_values} {counter}s contain different lines of the same frames: segments of one image, or several "
            "images?"
        )
        hint = f"--set preprocessing.combine=[{counter}] merges them as segments, select.{counter}=... reads only one"
        raise UnsupportedError(what, where=readouts.path, hint=hint)


def _are_parts(readouts: Readouts, segments: str, images: tuple[str, ...]) -> bool:
    """Whether the lines of an image are distributed over the values of a counter, with few lines in several of them."""
    values = np.unique(readouts.counter(segments))
    if len(values) != values[-1] - values[0] + 1:  # a gap in the values means that some are corrupted
        return False
    others = (name for name in ("contrast", "set", "average", *images) if name != segments)
    keys = [readouts.counter(name) for name in others]
    line, segment = readouts.lines, readouts.counter(segments)
    _, n_measured = np.unique(
        np.unique(np.stack([*keys, line, segment], 1), axis=0)[:, :-1], axis=0, return_counts=True
    )
    per_image, per_part = (_most_lines([*key, line]) for key in (keys, [*keys, segment]))
    is_shared = float((n_measured > 1).mean())
    return is_shared == 0 or (is_shared < MAX_SHARED_FRACTION and per_part <= MAX_PART_FRACTION * per_image)


def _most_lines(keys: list[NDArray[np.int64]]) -> int:
    """The largest number of different lines (the last key) with the same values of the other keys."""
    different = np.unique(np.stack(keys, 1), axis=0)
    return int(np.unique(different[:, :-1], axis=0, return_counts=True)[1].max())


COMPLETE_FRACTION = 0.95
"""Smallest fraction of lines that were measured as often as the header states; a few readouts may have been lost."""
REPEATED_FRACTION = 0.5
"""Smallest fraction of repeated lines that indicates a missing counter."""


@dataclass(frozen=True, eq=False)
class _Repeats:
    """Number of measurements of each line of each image, ``(lines,)``, and their temporal order, ``(readouts,)``."""

    counts: Index
    order: Index

    @property
    def are_equal(self) -> bool:
        """Whether all lines were measured equally often, except for a few that were lost."""
        return bool((self.counts == self.counts.max()).mean() >= COMPLETE_FRACTION)


def restore_counter(readouts: Readouts, config: AcquisitionConfig) -> None:
    """Restore the counter that distinguishes repeated measurements of the lines.

    If a counter has several values in the header but a single value in the readouts, and every line was measured that
    many times, the measurements are numbered in temporal order.

    Raises
    ------
    UnsupportedError
        If lines were measured several times and the missing counter is ambiguous, or the scan has only one frame.
    """
    if config.repeats == "average":
        return
    repeats = _count_repeats(readouts)
    most = int(repeats.counts.max())
    if most > 1 and config.repeats != "auto":
        _require_equal(readouts.raw, repeats, f"--set preprocessing.repeats={config.repeats}")
        readouts.raw.heads["idx"][config.repeats][readouts.rows] = repeats.order
    elif most > 1:
        _restore_by_header(readouts, repeats)
    _require_frames(readouts)


def _restore_by_header(readouts: Readouts, repeats: _Repeats) -> None:
    """Restore the counter whose number of values in the header equals the number of measurements of each line."""
    missing, idx = _missing_counters(readouts), readouts.raw.heads["idx"]
    complete = [name for name, n in missing.items() if (repeats.counts == n).mean() >= COMPLETE_FRACTION]
    if len(complete) == 1:
        name = complete[0]
        readouts.warn(
            f"the header has {missing[name]} values of {name}, the readouts have one, and each line was measured "
            f"{missing[name]} times: the measurements are numbered in temporal order"
        )
        idx[name][readouts.rows] = repeats.order
        return
    candidates = complete or [name for name in missing if name != "average"]
    segments = readouts.n_values("segment")
    times = [name for name in candidates if name in ("phase", "repetition") and missing[name] == segments]
    if len(times) == 1 and _count_repeats(readouts, "segment").counts.max() == 1:
        what = f"the header has {segments} values of {times[0]}, the readouts have as many segments"
        readouts.warn(f"{what}: segment is {times[0]}")
        idx[times[0]] = idx["segment"]
        return
    if candidates and (repeats.counts > 1).mean() >= REPEATED_FRACTION:
        raise _not_clear(readouts.path, repeats, {name: missing[name] for name in candidates})


def _count_repeats(readouts: Readouts, extra: str = "", *, without: str = "") -> _Repeats:
    """Count the readouts of each line with equal counters, and order them by their time stamps.

    The compared counters are those that distinguish images, plus ``extra`` and minus ``without`` if these are given.
    """
    stamps, extras = readouts.field("acquisition_time_stamp"), [extra] if extra else []
    names = (name for name in (*COUNTERS, "kspace_encode_step_1", *extras) if name != without)
    keys = np.stack([readouts.counter(name) for name in names], 1)
    _, line, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    by_line = np.lexsort((np.arange(len(readouts)), stamps, line.ravel()))
    order = np.empty(len(readouts), np.intp)
    order[by_line] = np.arange(len(readouts)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _Repeats(counts, order)


def _missing_counters(readouts: Readouts) -> dict[str, int]:
    """Counters with one value in the data but several in the header, with the number of values in the header."""
    limits = readouts.encoding.limits
    n_values = {name: limits[name].n_values for name in COUNTERS if name in limits}
    return {name: n for name, n in n_values.items() if n > 1 and readouts.n_values(name) == 1}


def _require_equal(raw: RawScan, repeats: _Repeats, where: str) -> None:
    """Check that all lines were measured equally often; otherwise their order does not determine the image."""
    if not repeats.are_equal:
        counts = f"{repeats.counts.min()} to {repeats.counts.max()}"
        what = f"lines were measured {counts} times: their order does not determine a counter"
        raise UnsupportedError(what, where=where, hint=f"write the counter into {raw.path.name}")


def _not_clear(where: str, repeats: _Repeats, missing: dict[str, int]) -> UnsupportedError:
    headers = " and ".join(f"{n} values of {name}" for name, n in missing.items())
    what = (
        f"the header has {headers}, the readouts have one, and lines were measured {repeats.counts.min()} to "
        f"{repeats.counts.max()} times: which counter is missing?"
    )
    options = " or ".join(f"--set preprocessing.repeats={name}" for name in missing)
    hint = f"{options} numbers them; " if repeats.are_equal else "write the counter into the file; "
    return UnsupportedError(what, where=where, hint=f"{hint}--set preprocessing.repeats=average averages them")


def _require_frames(readouts: Readouts) -> None:
    """Check that a scan of one frame has no repeated lines, since the repeats are probably its frames.

    In an undersampled cine whose frames are not numbered, only the central lines are repeated, once in each frame.
    Lines that were measured twice may be averages.
    """
    repeats = _count_repeats(readouts, without="average")
    counts = repeats.counts
    most = int(counts.max())
    if not _is_one_frame(readouts) or most == 1 or (most == 2 and (counts == most).mean() < COMPLETE_FRACTION):
        return
    named = [name for name in ("average", "segment") if _numbers_repeats(readouts, name, most)]
    frames = f"--set preprocessing.time_counter={named[0]}" if named else "--set preprocessing.repeats=phase"
    lines = "each line was" if counts.min() == most else "lines were"
    times = f"{most} times" if counts.min() == most else f"{counts.min()} to {most} times"
    what = f"there is one frame, and {lines} measured {times}: are the repetitions frames or averages?"
    hint = f"{frames} reads the measurements as frames; --set preprocessing.repeats=average averages them"
    if not named and not repeats.are_equal:
        hint = "write the counter of the frames into the file; --set preprocessing.repeats=average averages them"
    raise UnsupportedError(what, where=readouts.path, hint=hint)


def _numbers_repeats(readouts: Readouts, name: str, most: int) -> bool:
    """Whether a counter has a value for each of at most ``most`` measurements of a line, as a frame counter would."""
    n_values = readouts.n_values(name)
    if n_values <= most:
        return n_values == most
    repeats = _count_repeats(readouts) if name == "average" else _count_repeats(readouts, name, without="average")
    return int(repeats.counts.max()) == 1  # undersampled frames have different lines
