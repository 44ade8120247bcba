"""Counters that were not written: the images they told apart are measured on the same lines, one after the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import IntakeConfig
from cinerecon.acquisition.counters import COUNTERS, Warn
from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.raw import Index, RawScan

COMPLETE = 0.95
"""Part of the lines that must be measured as often as the header says; a few may have been lost."""
MOST_OF_THEM = 0.5
"""Part of the lines whose repeats are no accident."""


@dataclass(frozen=True, eq=False)
class _Repeats:
    """How often each line of each image was measured, ``(lines,)``, and in which order, ``(readouts,)``."""

    counts: Index
    order: Index


def restore_counter(raw: RawScan, image: Index, config: IntakeConfig, warn: Warn) -> None:
    """Write the counter that tells repeated measurements of the lines apart.

    Where the header gives one counter several values, the readouts have one, and every line was measured that many
    times, the measurements are numbered in the order of time.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    config
        What the user says of repeats.
    warn
        Called where a counter was written.

    Raises
    ------
    UnsupportedError
        If lines were measured several times, and it is not clear which counter is missing.
    """
    repeats = _count_repeats(raw, image)
    most = int(repeats.counts.max())
    if most == 1 or config.repeats == "average":
        return
    if config.repeats != "auto":
        raw.heads["idx"][config.repeats][image] = repeats.order
        return
    missing = _missing_counters(raw, image)
    complete = [name for name, n in missing.items() if (repeats.counts == n).mean() >= COMPLETE]
    if len(complete) == 1:
        name = complete[0]
        warn(
            f"the header has {missing[name]} values of {name}, the readouts have one, and each line was measured "
            f"{most} times: the measurements are numbered in the order of time"
        )
        raw.heads["idx"][name][image] = repeats.order
        return
    unclear = complete or [name for name in missing if name != "average"]
    if unclear and (repeats.counts > 1).mean() >= MOST_OF_THEM:
        raise _not_clear(raw, repeats, {name: missing[name] for name in unclear})
    if _is_one_image(raw, image) and (repeats.counts == most).mean() >= COMPLETE:
        raise _not_frames(raw, image, most)


def _count_repeats(raw: RawScan, image: Index) -> _Repeats:
    """Count the readouts of each line that no counter tells apart; their order is that of their time stamps."""
    idx, stamps = raw.heads["idx"][image], raw.heads["acquisition_time_stamp"][image]
    keys = np.stack([idx[name].astype(np.int64) for name in (*COUNTERS, "kspace_encode_step_1")], 1)
    _, line, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    by_line = np.lexsort((np.arange(len(image)), stamps, line.ravel()))
    order = np.empty(len(image), np.intp)
    order[by_line] = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _Repeats(counts, order)


def _missing_counters(raw: RawScan, image: Index) -> dict[str, int]:
    """Counters that have several values by the header's limits and one in the data, with the number of values."""
    limits, idx = raw.header.encodings[0].limits, raw.heads["idx"][image]
    missing = {}
    for name in COUNTERS:
        n_values = limits[name].maximum + 1 - limits[name].minimum if name in limits else 1
        if n_values > 1 and len(np.unique(idx[name])) == 1:
            missing[name] = n_values
    return missing


def _is_one_image(raw: RawScan, image: Index) -> bool:
    """Whether each slice has one frame, as far as the counters say."""
    idx: NDArray[np.void] = raw.heads["idx"][image]
    return all(len(np.unique(idx[name])) == 1 for name in ("phase", "repetition"))


def _not_clear(raw: RawScan, repeats: _Repeats, missing: dict[str, int]) -> UnsupportedError:
    headers = " and ".join(f"{n} values of {name}" for name, n in missing.items())
    what = (
        f"the header has {headers}, the readouts have one, and {(repeats.counts > 1).mean():.0%} of the lines were "
        f"measured up to {repeats.counts.max()} times: which counter is missing?"
    )
    options = " or ".join(f"--intake repeats={name}" for name in missing)
    return UnsupportedError(what, where=str(raw.path), hint=f"{options} numbers them; repeats=average averages them")


def _not_frames(raw: RawScan, image: Index, most: int) -> UnsupportedError:
    what = f"there is one frame, and each line was measured {most} times: which counter is missing?"
    segments = len(np.unique(raw.heads["idx"]["segment"][image]))
    frames = "--intake time_counter=segment" if segments == most else "--intake repeats=phase"
    return UnsupportedError(
        what, where=str(raw.path), hint=f"{frames} takes the measurements as frames, repeats=average averages them"
    )
