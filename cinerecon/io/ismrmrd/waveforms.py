"""Waveforms of an ISMRMRD raw scan: ECG and other physiological signals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from ismrmrd.hdf5 import waveform_dtype, waveform_header_dtype
from numpy.typing import NDArray

from cinerecon.errors import DataError

ECG_ID = 0
"""Number of the ECG. Converters use 1 to 4 for pulse, respiration and external signals, and add 5 for the learning
phase before the scan; other numbers are described by ``waveformInformation`` in the header."""
SIGNALS = dict(enumerate(("ECG", "pulse", "respiration", "external signal", "second external signal")))
SIGNALS |= {number + len(SIGNALS): f"{name} before the scan" for number, name in SIGNALS.items()}
"""Names of signals by their number in siemens_to_ismrmrd."""
MAX_WAVEFORM_SAMPLES = 50_000_000
"""Largest total number of samples of waveforms that are read, about one day of ECG."""
LONGEST_BLOCK = 65535
"""Largest number of samples or channels of a block in version 1."""
FIELDS = ("time_stamp", "number_of_samples", "channels", "sample_time_us", "waveform_id")
COUNTERS = ("flags", "measurement_uid", "scan_counter")
"""Other fields of the header of a block, which are optional."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """A block of a recorded signal.

    Attributes
    ----------
    number
        Number of the signal; 0 is the ECG.
    time_stamp
        Time of the first sample, in the units of ``acquisition_time_stamp``.
    sample_time_us
        Time between samples [us].
    values
        ``(channels, samples)``
    flags, measurement_uid, scan_counter
        As in the header of the block.
    """

    number: int
    time_stamp: int
    sample_time_us: float
    values: NDArray[np.uint32]
    flags: int = 0
    measurement_uid: int = 0
    scan_counter: int = 0

    @classmethod
    def of(cls, head: np.void, values: NDArray[Any]) -> "Waveform":
        """Create a block from its ISMRMRD header and its samples ``(channels, samples)``."""
        names = head.dtype.names or ()
        counters = {name: int(head[name]) for name in COUNTERS if name in names}
        number, time_stamp = int(head["waveform_id"]), int(head["time_stamp"])
        if values.dtype.kind == "f":  # conversion of negative floats to unsigned integers is undefined
            values = np.nan_to_num(values).astype(np.int64)
        return cls(number, time_stamp, float(head["sample_time_us"]), values.astype(np.uint32, copy=False), **counters)

    @property
    def is_usable_ecg(self) -> bool:
        """Whether this is a block of the ECG with samples at known times."""
        return self.number == ECG_ID and self.values.size > 0 and 0 < self.sample_time_us < 1e6

    def head(self, where: str) -> np.void:
        """The header of the block in version 1; ``where`` is the file, for messages.

        Raises
        ------
        DataError
            If version 1 cannot represent the number of samples or channels, or the number of the signal.
        """
        if max(*self.values.shape, self.number) > LONGEST_BLOCK:
            what = f"waveform {self.number} has a block of {self.values.shape[0]} channels x {self.values.shape[1]} "
            hint = "convert to .mrd2, which has no such limit"
            raise DataError(f"{what}samples, version 1 stores at most {LONGEST_BLOCK}", where=where, hint=hint)
        head = np.zeros(1, waveform_header_dtype)
        head["version"], head["waveform_id"] = 1, self.number
        head["channels"], head["number_of_samples"] = self.values.shape
        head["time_stamp"], head["sample_time_us"] = self.time_stamp, self.sample_time_us
        for name in COUNTERS:
            head[name] = getattr(self, name)
        out: np.void = head[0]
        return out


def ecg_of(waveforms: Iterable[Waveform]) -> tuple[Waveform, ...]:
    """The blocks of the ECG that can be used for gating."""
    return tuple(block for block in waveforms if block.is_usable_ecg)


def describe_waveforms(waveforms: Iterable[Waveform]) -> tuple[str, ...]:
    """A description of each signal, e.g. ``ECG (0): 5 channels, 12.5 s``."""
    duration_s: dict[tuple[int, int], float] = {}
    for block in waveforms:
        kind = block.number, len(block.values)
        duration_s[kind] = duration_s.get(kind, 0.0) + 1e-6 * block.sample_time_us * block.values.shape[1]
    return tuple(
        f"{SIGNALS.get(number, 'signal')} ({number}): {n_channels} channels, {seconds:.1f} s"
        for (number, n_channels), seconds in sorted(duration_s.items())
    )


def within_limit(waveforms: Sequence[Waveform]) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """The waveforms within `MAX_WAVEFORM_SAMPLES`, and warnings about omitted and unusable ones."""
    is_read, warnings = _choose(
        np.array([block.number for block in waveforms]), np.array([block.values.size for block in waveforms])
    )
    chosen = tuple(block for block, is_chosen in zip(waveforms, is_read, strict=True) if is_chosen)
    return chosen, (*warnings, *_unusable_ecg(chosen))


def _choose(numbers: NDArray[Any], sizes: NDArray[Any]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """The blocks that are read: all, only the ECG, or none, depending on the number of samples; and a warning."""
    is_ecg = numbers == ECG_ID
    limit = f"the waveforms have more than {MAX_WAVEFORM_SAMPLES} samples: "
    if int(sizes.sum()) <= MAX_WAVEFORM_SAMPLES:
        return np.ones(len(sizes), bool), ()
    if int(sizes[is_ecg].sum()) <= MAX_WAVEFORM_SAMPLES:
        return is_ecg, (limit + "all except the ECG are omitted",)
    return np.zeros(len(sizes), bool), (limit + "they are omitted",)


def _unusable_ecg(waveforms: Iterable[Waveform]) -> tuple[str, ...]:
    n_unusable = sum(block.number == ECG_ID and not block.is_usable_ecg for block in waveforms)
    text = f"{n_unusable} ECG blocks are empty or have no sampling interval: they are not used for gating"
    return (text,) if n_unusable else ()


def read_waveforms(stored: Any) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """Read the blocks of waveforms in an HDF5 file, and return warnings about damaged ones.

    Damaged blocks are omitted, since images do not depend on waveforms unless the scan is gated by them.

    Parameters
    ----------
    stored
        The object ``waveforms`` of the file; None if there is none.
    """
    if stored is None:
        return (), ()
    if not _is_standard(stored):
        return (), ("the waveforms in the file are not stored as the standard requires: they are not used",)
    try:
        heads = stored["head"] if stored.size else np.zeros(0, stored.dtype["head"])
        sizes = heads["number_of_samples"].astype(np.int64) * heads["channels"]
        is_read, warnings = _choose(heads["waveform_id"], sizes)
        rows = np.flatnonzero(is_read)
        blocks = stored[:]["data"][rows] if rows.size else []
    except (OSError, ValueError, TypeError) as error:
        return (), (f"the waveforms in the file cannot be read ({error}): they are not used",)
    waveforms, damaged = _checked(heads[rows], blocks)
    return waveforms, (*warnings, *damaged, *_unusable_ecg(waveforms))


def _is_standard(stored: Any) -> bool:
    """Whether an object of a file is a list of waveforms that conforms to the standard."""
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 1:
        return False
    if not {"head", "data"} <= set(stored.dtype.names or ()):
        return False
    numbers = h5py.check_vlen_dtype(stored.dtype["data"])
    has_numbers = numbers is not None and np.dtype(numbers).kind in "iuf"
    return has_numbers and set(FIELDS) <= set(stored.dtype["head"].names or ())


def _checked(heads: NDArray[np.void], blocks: Iterable[Any]) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """The blocks whose size agrees with their header, and a warning about others."""
    waveforms, n_damaged = [], 0
    for head, block in zip(heads, blocks, strict=True):
        shape, values = (int(head["channels"]), int(head["number_of_samples"])), np.asarray(block)
        if values.size != shape[0] * shape[1]:
            n_damaged += 1
        else:
            waveforms.append(Waveform.of(head, values.reshape(shape)))
    text = f"{n_damaged} waveforms do not contain as many samples as their headers declare: they are omitted"
    return tuple(waveforms), (text,) if n_damaged else ()


def waveform_rows(waveforms: Sequence[Waveform], where: str) -> NDArray[np.void]:
    """Waveforms as rows of an HDF5 file; raises the errors of `Waveform.head`."""
    rows = np.zeros(len(waveforms), waveform_dtype)
    for row, block in zip(rows, waveforms, strict=True):
        row["head"] = block.head(where)
        row["data"] = np.ascontiguousarray(block.values, np.uint32).ravel()
    return rows
