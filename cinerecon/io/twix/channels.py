"""Order of the channels in the readouts of a measurement, from the channel numbers stored with the samples."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError
from cinerecon.io.twix.readouts import TwixSamples
from cinerecon.words import name_numbers

MAX_LISTED = 8
"""Largest number of channels that are named in an error."""


def in_one_order(
    store: TwixSamples, channels: list[tuple[int, ...]], is_used: NDArray[np.bool_]
) -> tuple[TwixSamples, tuple[str, ...]]:
    """Reorder the channels of all readouts to the order of the first used readout, with a warning if necessary.

    Parameters
    ----------
    store
        Samples of the readouts.
    channels
        Channel numbers of each readout as stored.
    is_used
        ``(readouts,)`` bool, readouts with image or calibration data; others may have been measured with other coils.

    Raises
    ------
    DataError
        If used readouts have the same number of channels as the first one, but different channels.
    """
    used = np.flatnonzero(is_used)
    if used.size == 0:
        return store, ()
    first = channels[used[0]]
    differing = [int(row) for row in used if channels[row] != first and len(channels[row]) == len(first)]
    if len(set(first)) < len(first) or not differing:  # if channel numbers are not unique, they were not set
        return store, ()
    for row in differing:
        if sorted(channels[row]) != sorted(first):
            what = (
                f"readout {row} has {_listed(channels[row], first)}, readout {used[0]} {_listed(first, channels[row])}"
            )
            hint = "the receiver channels changed during the scan, which is not supported, or the file is damaged"
            raise DataError(what, where=str(store.path), hint=hint)
    text = f"{len(differing)} of {used.size} readouts have their channels in a different order: they are reordered"
    return replace(store, channels=np.array(first, np.uint16)), (text,)


def _listed(channels: tuple[int, ...], others: tuple[int, ...]) -> str:
    """The channel numbers in which two readouts differ; all of them if they differ only in how often these occur."""
    own = sorted(set(channels) - set(others)) or sorted(channels)
    return name_numbers("channel", own[:MAX_LISTED]) + (", ..." if len(own) > MAX_LISTED else "")
