"""Waveforms of an ISMRMRD raw scan: the ECG and other signals that were recorded during it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

ECG_ID = 0
"""Number of the ECG. Converters write the learning phase before the scan under other numbers."""
MAX_WAVEFORM_SAMPLES = 50_000_000
"""Largest number of samples of all waveforms that are read, a day of ECG."""
FIELDS = ("time_stamp", "number_of_samples", "channels", "sample_time_us", "waveform_id")


@dataclass(frozen=True, eq=False)
class Waveform:
    """A block of a recorded signal.

    Attributes
    ----------
    number
        Kind of signal; 0 is the ECG.
    time_stamp
        Time of its first sample, in the units of ``acquisition_time_stamp``.
    sample_time_us
        Time between samples [us].
    values
        ``(channels, samples)``
    """

    number: int
    time_stamp: int
    sample_time_us: float
    values: NDArray[np.uint32]


def read_waveforms(stored: Any) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """The blocks of the ECG in an array of waveforms of an HDF5 file, and warnings about damaged ones.

    Images do not depend on waveforms, unless a scan is gated by them: a damaged block is left out.

    Parameters
    ----------
    stored
        The member ``waveforms`` of the measurement; None without one.
    """
    if stored is None:
        return (), ()
    if not _is_standard(stored):
        return (), ("the waveforms in the file are not stored as the standard says: they are not used",)
    try:
        heads = stored["head"] if stored.size else np.zeros(0, stored.dtype["head"])
        rows = np.flatnonzero(heads["waveform_id"] == ECG_ID)
        sizes = heads["number_of_samples"].astype(np.int64) * heads["channels"]
        if sizes[rows].sum() > MAX_WAVEFORM_SAMPLES:
            return (), ("the waveforms in the file are longer than a day: they are not used",)
        blocks = stored[:]["data"][rows] if rows.size else []
    except (OSError, ValueError, TypeError) as error:
        return (), (f"the waveforms in the file cannot be read ({error}): they are not used",)
    return _checked(heads[rows], blocks)


def _is_standard(stored: Any) -> bool:
    """Whether an object of the file is a list of waveforms."""
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 1:
        return False
    if not {"head", "data"} <= set(stored.dtype.names or ()):
        return False
    numbers = h5py.check_vlen_dtype(stored.dtype["data"])
    has_numbers = numbers is not None and np.dtype(numbers).kind in "iuf"
    return has_numbers and set(FIELDS) <= set(stored.dtype["head"].names or ())


def _checked(heads: NDArray[np.void], blocks: Iterable[Any]) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """The blocks whose size is that of their header."""
    waveforms, n_damaged = [], 0
    for head, block in zip(heads, blocks, strict=True):
        shape = int(head["channels"]), int(head["number_of_samples"])
        values = np.asarray(block)
        if values.size != shape[0] * shape[1] or values.size == 0 or not 0 < head["sample_time_us"] < 1e6:
            n_damaged += 1
            continue
        waveforms.append(
            Waveform(
                int(head["waveform_id"]), int(head["time_stamp"]), float(head["sample_time_us"]), values.reshape(shape)
            )
        )
    text = f"{n_damaged} blocks of the ECG do not hold the samples that their headers say: they are left out"
    return tuple(waveforms), (text,) if n_damaged else ()
