"""Counters that were not written: the images that they distinguish are measured on the same lines."""

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

    @property
    def are_alike(self) -> bool:
        """Whether all lines were measured equally often, but for a few that were lost."""
        return bool((self.counts == self.counts.max()).mean() >= COMPLETE)


def restore_counter(raw: RawScan, image: Index, config: IntakeConfig, warn: Warn) -> None:
    """Write the counter that distinguishes repeated measurements of the lines.

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
        If lines were measured several times, and it is not clear which counter is missing; or there is one frame.
    """
    if config.repeats == "average":
        return
    repeats = _count_repeats(raw, image)
    most = int(repeats.counts.max())
    if most > 1 and config.repeats != "auto":
        _require_alike(raw, repeats, f"--intake repeats={config.repeats}")
        raw.heads["idx"][config.repeats][image] = repeats.order
    elif most > 1:
        _restore_by_header(raw, image, repeats, warn)
    _require_frames(raw, image)


def _restore_by_header(raw: RawScan, image: Index, repeats: _Repeats, warn: Warn) -> None:
    """Write the one counter that the header gives as many values as each line was measured."""
    missing = _missing_counters(raw, image)
    complete = [name for name, n in missing.items() if (repeats.counts == n).mean() >= COMPLETE]
    if len(complete) == 1:
        name = complete[0]
        warn(
            f"the header has {missing[name]} values of {name}, the readouts have one, and each line was measured "
            f"{missing[name]} times: the measurements are numbered in the order of time"
        )
        raw.heads["idx"][name][image] = repeats.order
        return
    unclear = complete or [name for name in missing if name != "average"]
    if unclear and (repeats.counts > 1).mean() >= MOST_OF_THEM:
        raise _not_clear(raw, repeats, {name: missing[name] for name in unclear})


def _count_repeats(raw: RawScan, image: Index, without: str = "") -> _Repeats:
    """Count the readouts of each line that no counter distinguishes; their order is that of their time stamps."""
    idx, stamps = raw.heads["idx"][image], raw.heads["acquisition_time_stamp"][image]
    names = (name for name in (*COUNTERS, "kspace_encode_step_1") if name != without)
    keys = np.stack([idx[name].astype(np.int64) for name in names], 1)
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


def _require_alike(raw: RawScan, repeats: _Repeats, where: str) -> None:
    """Check that all lines were measured equally often: else their order does not say which image they are of."""
    if not repeats.are_alike:
        what = (
            f"lines were measured {repeats.counts.min()} to {repeats.counts.max()} times: their order numbers nothing"
        )
        raise UnsupportedError(what, where=where, hint=f"write the counter into {raw.path.name}")


def _not_clear(raw: RawScan, repeats: _Repeats, missing: dict[str, int]) -> UnsupportedError:
    headers = " and ".join(f"{n} values of {name}" for name, n in missing.items())
    what = (
        f"the header has {headers}, the readouts have one, and lines were measured {repeats.counts.min()} to "
        f"{repeats.counts.max()} times: which counter is missing?"
    )
    options = " or ".join(f"--intake repeats={name}" for name in missing)
    hint = f"{options} numbers them; " if repeats.are_alike else "write the counter into the file; "
    return UnsupportedError(what, where=str(raw.path), hint=f"{hint}repeats=average averages them")


def _require_frames(raw: RawScan, image: Index) -> None:
    """Refuse a scan of one frame whose lines were measured several times: these are its frames, most likely.

    Raises
    ------
    UnsupportedError
        Naming the counter that may be time.
    """
    idx: NDArray[np.void] = raw.heads["idx"][image]
    is_one_frame = all(len(np.unique(idx[name])) == 1 for name in ("phase", "repetition"))
    counts = _count_repeats(raw, image, without="average").counts
    most = int(counts.max())
    if not is_one_frame or most == 1 or (counts == most).mean() < COMPLETE:
        return
    named = [name for name in ("average", "segment") if len(np.unique(idx[name])) == most]
    frames = f"--intake time_counter={named[0]}" if named else "--intake repeats=phase"
    what = f"there is one frame, and each line was measured {most} times: are these frames or averages?"
    hint = f"{frames} takes the measurements as frames, repeats=average averages them"
    raise UnsupportedError(what, where=str(raw.path), hint=hint)
