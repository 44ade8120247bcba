"""Counters that number parts of one image: heartbeats counted as repetitions, or what the user says of a counter."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.counters import Warn
from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.header import Limit
from cinerecon.io.ismrmrd.raw import Index, RawScan

MOST_SHARED = 0.5
"""Part of the lines that several values of a counter may measure, and still be parts of one image."""
PART = 0.75
"""Part of an image's lines up to which the lines of one value of a counter are a part of it."""

SAME_PLACE = 0.1
"""Largest difference of positions [mm] and directions of readouts of one slice."""


def combine_counters(raw: RawScan, counters: Iterable[str]) -> RawScan:
    """The scan with counters at 0 that the user says number parts or averages of one image."""
    for counter in counters:
        raw.heads["idx"][counter] = 0
    return _with_limits(raw, dict.fromkeys(counters))


def move_time(raw: RawScan, counter: str) -> RawScan:
    """The scan with the counter that the user says is time in ``phase``; what was counted there is combined."""
    if counter == "auto":
        return raw
    idx, limits = raw.heads["idx"], raw.header.encodings[0].limits
    if counter == "phase":
        return combine_counters(raw, ["repetition"])
    idx["phase"] = idx[counter]
    idx[counter] = 0
    return _with_limits(raw, {"phase": limits.get(counter), counter: None})


def _with_limits(raw: RawScan, limits: Mapping[str, Limit | None]) -> RawScan:
    """The scan with other limits of some counters; None for no limit."""
    encoding = raw.header.encodings[0]
    changed = {name: limit for name, limit in {**encoding.limits, **limits}.items() if limit is not None}
    return replace(raw, header=replace(raw.header, encodings=(replace(encoding, limits=changed),)))


def merge_segments(raw: RawScan, image: Index, warn: Warn) -> None:
    """Merge the heartbeats of a segmented cine that were counted as repetitions, or as phases of each repetition.

    They are parts of one image where no repetition is an image of its own: each measures other lines of the same
    phases.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    warn
        Called where a counter was merged.
    """
    idx = raw.heads["idx"]
    n_values = {name: len(np.unique(idx[name][image])) for name in ("phase", "repetition")}
    if min(n_values.values()) == 1:
        return
    for segments, time in (("repetition", "phase"), ("phase", "repetition")):
        if _are_parts(raw, image, segments, ("slice", time)):
            warn(
                f"{n_values[segments]} values of {segments} measure other lines of the same {time}: they are merged as "
                f"segments of one image; --intake select.{segments}=... takes one alone"
            )
            idx[segments] = 0
            return


def merge_slices(raw: RawScan, image: Index, warn: Warn) -> RawScan:
    """Merge the parts of one slice that were counted as slices: all at one position, each with other lines.

    Parameters as for `merge_segments`; the scan is returned with the limit that it then has.
    """
    heads = raw.heads[image]
    n_slices = len(np.unique(heads["idx"]["slice"]))
    geometry = np.concatenate([heads[name] for name in ("position", "read_dir", "phase_dir", "slice_dir")], axis=1)
    is_one_place = bool(geometry[0, 3:].any() and np.ptp(geometry, axis=0).max() < SAME_PLACE)
    if n_slices > 1 and is_one_place and _are_parts(raw, image, "slice", ("phase", "repetition")):
        warn(f"{n_slices} slices have one position, and each has other lines: they are merged as segments of one slice")
        return combine_counters(raw, ["slice"])
    return raw


def require_whole_images(raw: RawScan, image: Index, counter: str) -> None:
    """Refuse several sets or contrasts of which each has other lines: one of them alone would be a part of an image.

    Raises
    ------
    UnsupportedError
        Naming the setting that merges them.
    """
    n_values = len(np.unique(raw.heads["idx"][counter][image]))
    if n_values > 1 and _are_parts(raw, image, counter, ("slice", "phase", "repetition")):
        what = (
            f"{n_values} {counter}s measure other lines of the same frames: segments of one image, or several images?"
        )
        hint = f"--intake combine=[{counter}] merges them as segments, select.{counter}=... takes one alone"
        raise UnsupportedError(what, where=str(raw.path), hint=hint)


def _are_parts(raw: RawScan, image: Index, segments: str, images: tuple[str, ...]) -> bool:
    """Whether the lines of an image are spread over the values of a counter, hardly any of them measured twice."""
    idx = raw.heads["idx"][image]
    values = np.unique(idx[segments]).astype(int)
    if len(values) != values[-1] - values[0] + 1:  # a gap: some of them are damaged
        return False
    others = (name for name in ("contrast", "set", "average", *images) if name != segments)
    keys = [idx[name].astype(np.int64) for name in others]
    line, segment = (idx[name].astype(np.int64) for name in ("kspace_encode_step_1", segments))
    _, n_measured = np.unique(
        np.unique(np.stack([*keys, line, segment], 1), axis=0)[:, :-1], axis=0, return_counts=True
    )
    per_image, per_part = (_most_lines([*key, line]) for key in (keys, [*keys, segment]))
    is_shared = float((n_measured > 1).mean())
    return is_shared == 0 or (is_shared < MOST_SHARED and per_part <= PART * per_image)


def _most_lines(keys: list[NDArray[np.int64]]) -> int:
    """The largest number of different lines, the last key, that have the other keys in common."""
    different = np.unique(np.stack(keys, 1), axis=0)
    return int(np.unique(different[:, :-1], axis=0, return_counts=True)[1].max())
