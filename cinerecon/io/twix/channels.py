"""The order of the channels in the readouts of a measurement, from the channel numbers stored with the samples."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError
from cinerecon.io.twix.readouts import TwixSamples


def in_one_order(
    store: TwixSamples, channels: list[tuple[int, ...]], is_used: NDArray[np.bool_]
) -> tuple[TwixSamples, tuple[str, ...]]:
    """The samples with all channels in the order of the first used readout, and a warning if others differ from it.

    Parameters
    ----------
    store
        Samples of the readouts.
    channels
        Numbers of the channels of each readout, as stored.
    is_used
        ``(readouts,)`` bool, the lines of images and for calibration. Others may be measured with other coils.

    Raises
    ------
    DataError
        If used readouts have as many channels as the first one, but other numbers.
    """
    used = np.flatnonzero(is_used)
    if used.size == 0:
        return store, ()
    first = channels[used[0]]
    differing = [int(row) for row in used if channels[row] != first and len(channels[row]) == len(first)]
    if len(set(first)) < len(first) or not differing:  # numbers that are not unique were not set
        return store, ()
    for row in differing:
        if sorted(channels[row]) != sorted(first):
            other = next(number for number in channels[row] if number not in first)
            what = f"channel {other} was measured in readout {row}, but not in readout {used[0]}"
            hint = "the receiver channels changed during the scan, which is not supported"
            raise DataError(what, where=str(store.path), hint=hint)
    text = f"{len(differing)} of {used.size} readouts have their channels in a different order: they are reordered"
    return replace(store, channels=np.array(first, np.uint16)), (text,)
