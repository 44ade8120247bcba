"""Times of the readouts from their time stamps, whose unit, origin and range differ between vendors.

The standard does not specify the unit of ``acquisition_time_stamp`` and ``physiology_time_stamp``: Siemens scanners
count in units of 2.5 ms, others in milliseconds or microseconds. The counters have 32 bits and wrap around; Siemens
counters restart at midnight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.header import MrdHeader
from cinerecon.io.ismrmrd.raw import TICK_MS

Numbers = NDArray[np.float64]

TICKS_MS = (2.5, 1.0, 0.1, 0.01, 0.001)
"""Known units of time stamps [ms]."""
SHORTEST_FRAME_MS = 10.0
"""Threshold for the TR in the header [ms]: smaller values are the time between excitations, larger ones the temporal
resolution."""
SHORTEST_SPACING_MS = 0.5
"""Shortest plausible time between readouts [ms]; smaller values in the header have a different unit."""
REPETITION_PER_READOUT = 2.2
"""Typical ratio of the time between balanced SSFP readouts to the duration of a readout."""
MAX_UNIT_ERROR = 0.2
"""Largest relative difference between the unit of a trigger time stamp and a known unit."""
RESET_FRACTION, LONGEST_QUANTILE = 0.25, 0.98
"""Fraction of the longest trigger time stamps (at this quantile); a larger change restarts at an R wave or is
damaged."""
MAX_SPACING_ERROR = 0.1
"""Largest relative difference between the readout spacings from time stamps and from the header."""
CLOSEST_QUANTILE, CLOSEST_RATIO = 0.1, 1.5
"""Quantile of the times between readouts, and its ratio to the spacing in the header up to which no readouts are
missing in between."""
LONGEST_DELAY_MS = 20_000.0
"""Largest plausible time since an R wave [ms]; larger values mean that the time stamp was not set."""
SIMULATED = "cinerecon"
"""Vendor name of scans simulated by this package, whose time stamps have the Siemens unit."""


@dataclass(frozen=True, eq=False)
class Clock:
    """The times of a set of readouts.

    Attributes
    ----------
    time_ms
        ``(readouts,)`` time since the first readout [ms].
    since_trigger_ms
        ``(readouts,)`` time since the last R wave [ms]; NaN if it was not stored.
    tick_ms
        Unit of ``acquisition_time_stamp`` [ms].
    origin
        Value of ``acquisition_time_stamp`` at time 0.
    """

    time_ms: Numbers
    since_trigger_ms: Numbers
    tick_ms: float
    origin: int


def read_clock(readouts: Readouts, tick_ms: float | None) -> Clock:
    """Read the times of readouts.

    If ``tick_ms`` is None, the unit of ``acquisition_time_stamp`` is determined from the data.

    Raises
    ------
    DataError
        If ``acquisition_time_stamp`` does not change.
    """
    stamps = readouts.field("acquisition_time_stamp").astype(np.int64)
    ticks = unwrap(stamps)
    if np.ptp(ticks) == 0:
        what = f"acquisition_time_stamp is constant ({stamps[0]}): the times of the readouts are unknown"
        raise DataError(what, where=readouts.path, hint="--gating counter uses the counters")
    tick_ms = tick_ms or _tick_ms(readouts, ticks)
    first = int(ticks.argmin())
    time_ms = (ticks - ticks[first]) * tick_ms
    return Clock(time_ms, _since_trigger(readouts, time_ms, tick_ms), tick_ms, int(stamps[first]))


def unwrap(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Time stamps in file order, without the jumps of counters that wrap around or restart at midnight."""
    steps = (np.diff(stamps) + 2**31) % 2**32 - 2**31
    for day_ms, tick_ms in ((86_400_000, 2.5), (86_400_000, 1.0)):
        day = int(day_ms / tick_ms)
        steps = np.where((steps >= -day) & (steps < -0.9 * day), steps + day, steps)
        steps = np.where((steps <= day) & (steps > 0.9 * day), steps - day, steps)  # not stored in temporal order
    ticks: NDArray[np.int64] = stamps[0] + np.concatenate([[0], np.cumsum(steps)])
    return ticks


def _tick_ms(readouts: Readouts, ticks: NDArray[np.int64]) -> float:
    """The unit of the time stamps: that of the vendor, or the one that best fits the time between readouts."""
    header = readouts.raw.header
    if header.is_siemens or header.vendor == SIMULATED:
        return TICK_MS
    spacing = _spacing(ticks)
    expected_ms, source = _spacing_by_header(header)
    if not expected_ms:
        head = readouts.raw.heads[readouts.rows[0]]
        duration_ms = 1e-3 * float(head["sample_time_us"]) * float(head["number_of_samples"])
        expected_ms, source = REPETITION_PER_READOUT * duration_ms, f"duration of a readout, {duration_ms:.3g} ms"
    if spacing <= 0 or expected_ms <= 0:
        return TICK_MS
    tick_ms = min(TICKS_MS, key=lambda unit: abs(np.log(unit * spacing / expected_ms)))
    readouts.warn(f"time stamps count {tick_ms:g} ms by the {source}; --set preprocessing.tick_ms=... sets the unit")
    return tick_ms


def _spacing(ticks: NDArray[np.int64]) -> float:
    """Mean difference between successive time stamps, without the pauses of the scan."""
    steps = np.diff(np.sort(ticks)).astype(np.float64)
    return float(steps[steps <= 4 * float(np.median(steps[steps > 0]))].mean())  # several readouts may share one stamp


def unit_warnings(header: MrdHeader, clock: Clock) -> Iterator[str]:
    """A warning if the time between readouts agrees with the header only for a different unit of the time stamps.

    The header provides this time as TR or as echo spacing. No warning is given if the header contains neither, if no
    known unit agrees, or if some readouts are as close together as stated in the header, since readouts may have been
    removed between the others.
    """
    expected_ms, source = _spacing_by_header(header)
    if not expected_ms:
        return
    ticks = np.round(clock.time_ms / clock.tick_ms).astype(np.int64)
    spacing, closest = _spacing(ticks), float(np.quantile(np.diff(np.sort(ticks)), CLOSEST_QUANTILE))
    if closest * clock.tick_ms <= CLOSEST_RATIO * expected_ms <= spacing * clock.tick_ms:
        return
    ratios = {unit: unit * spacing / expected_ms for unit in TICKS_MS}
    fitting = [unit for unit, ratio in ratios.items() if abs(ratio - 1) < MAX_SPACING_ERROR]
    if fitting and clock.tick_ms not in fitting:
        yield (
            f"readouts are {clock.tick_ms * spacing:.3g} ms apart by time stamps in units of {clock.tick_ms:g} "
            f"ms, not as by the {source}: the unit is probably {fitting[0]:g} ms, so the times of frames and "
            f"beats are wrong; --set preprocessing.tick_ms={fitting[0]:g} sets it"
        )


def _spacing_by_header(header: MrdHeader) -> tuple[float, str]:
    """The time between readouts in the header [ms], 0 if there is none, and a text that names its source.

    A TR that is the temporal resolution of the cine, which is longer, is not used.
    """
    for name, value in (("TR", header.tr_ms), ("echo spacing", header.echo_spacing_ms)):
        if value is not None and SHORTEST_SPACING_MS <= value < SHORTEST_FRAME_MS:
            return value, f"{name} of {value:.3g} ms in the header"
    return 0.0, ""


def _since_trigger(readouts: Readouts, time_ms: Numbers, tick_ms: float) -> Numbers:
    """Time since the R wave [ms] from ``physiology_time_stamp`` of the ECG, otherwise of the pulse; NaN if unknown."""
    unknown = np.full(len(readouts), np.nan)
    if "physiology_time_stamp" not in (readouts.raw.heads.dtype.names or ()):
        return unknown
    for column in (0, 1):
        stamps = readouts.field("physiology_time_stamp")[:, column].astype(np.float64)
        is_set = (stamps > 0) & (stamps < 2**31)
        if len(np.unique(stamps[is_set])) < 2:
            continue
        unit_ms = _trigger_unit(stamps[is_set], time_ms[is_set], tick_ms)
        if unit_ms is None:
            readouts.warn("physiology_time_stamp does not advance with acquisition_time_stamp: it is not used")
            continue
        if unit_ms != tick_ms:
            readouts.warn(f"physiology_time_stamp counts {unit_ms:g} ms, acquisition_time_stamp {tick_ms:g} ms")
        since = stamps * unit_ms
        return np.where(is_set & (since < LONGEST_DELAY_MS), since, np.nan)
    return unknown


def _trigger_unit(stamps: Numbers, time_ms: Numbers, tick_ms: float) -> float | None:
    """The unit of the physiological time stamps [ms] from their rate between R waves; None if it is unknown."""
    order = np.argsort(time_ms, kind="stable")
    steps, times = np.diff(stamps[order]), np.diff(time_ms[order])
    advances = (np.abs(steps) < RESET_FRACTION * np.quantile(stamps, LONGEST_QUANTILE)) & (times < 1000)
    if steps[advances].sum() <= 0 or times[advances].sum() <= 0:
        return None
    unit_ms = float(times[advances].sum() / steps[advances].sum())
    nearest = min((tick_ms, *TICKS_MS), key=lambda unit: abs(np.log(unit / unit_ms)))
    return nearest if abs(unit_ms / nearest - 1) < MAX_UNIT_ERROR else None
