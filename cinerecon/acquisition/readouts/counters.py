"""Slices and frames from the counters of the readouts, which are checked against the limits in the header."""

from collections.abc import Container
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import select_option
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError, HeaderError, UnsupportedError
from cinerecon.io.ismrmrd.header import EncodingSpace, Limit
from cinerecon.io.ismrmrd.raw import Index, RawScan

COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")
"""The counters that distinguish images or averages."""
TIME = ("phase", "repetition")
"""The counters that may represent time, whose values have no gaps."""
MAX_CLAIM_TB = 1.0
"""Largest size of k-space that a header may describe [TB]."""

SAME_POSITION_MM = 1e-3
"""Largest distance between slices at the same position [mm]."""
MIN_SPACING_FRACTION = 0.02
"""Ratio of the distance between adjacent slices to their thickness below which positions are not in mm."""
COMMON_VALUE = 0.5
"""Smallest number of readouts with one value of a valid counter, relative to the median over all values."""
MAX_OVERLAP, WHOLE_STACK = 1.5, 0.75
"""Ratios of the slice thickness to the distance of adjacent slices and to that of the outermost ones above which it is
probably the thickness of the whole stack; overlapping slices are thinner than a stack."""


@dataclass(frozen=True, eq=False)
class Counters:
    """Slice and frame of each image readout, both counted from 0.

    Attributes
    ----------
    slices, frames
        ``(readouts,)``, slices sorted by position, frames in temporal order.
    n_frames
        Number of frames of each slice.
    n_averages
        Number of values of the counter ``average``.
    time
        The counter that represents time: ``phase`` or ``repetition``.
    """

    slices: Index
    frames: Index
    n_frames: tuple[int, ...]
    n_averages: int
    time: str


def require_sane_claim(raw: RawScan) -> None:
    """Refuse a header that describes an impossibly large k-space.

    Raises
    ------
    HeaderError
        If the size of k-space exceeds `MAX_CLAIM_TB`.
    """
    claim = max(map(_claimed_samples, raw.header.encodings)) * 8 * (raw.header.receiver_channels or 1)
    if claim > MAX_CLAIM_TB * 1e12:
        size = raw.path.stat().st_size
        what = (
            f"the header claims {claim / 1e12:.3g} TB of k-space, limit is {MAX_CLAIM_TB:g} TB; the file has "
            f"{size / 1e3:.0f} kB"
        )
        raise HeaderError(what, where=str(raw.path), hint="correct the matrix and the limits in the header")


def _claimed_samples(encoding: EncodingSpace) -> int:
    """Number of samples of each channel according to the matrix and the limits of an encoding."""
    limits = (encoding.limits[name].maximum for name in COUNTERS if name in encoding.limits)
    return prod(encoding.encoded.matrix) * prod(maximum + 1 for maximum in limits)


def read_counters(image: Readouts, unmeasured: Index, selected: Container[str]) -> Counters:
    """Check the counters of the image readouts and convert them to slices and frames.

    The last frames may consist of the ``unmeasured`` readouts, which contain only zeros. The limits in the header do
    not apply to the ``selected`` counters, for which the user chose one value.

    Raises
    ------
    HeaderError
        If a single value of a counter is outside its limit.
    UnsupportedError
        If there are several contrasts or sets, or the counter of the frames is ambiguous.
    DataError
        If a frame is empty.
    """
    for counter in COUNTERS:
        require_within_limit(image, counter)
    for counter in ("contrast", "set"):
        _require_single(image, counter)
    time = _time_counter(image)
    slices = _sorted_slices(image)
    for counter in ("slice", "contrast", "set"):
        if counter not in selected:
            _warn_of_missing_values(image, counter)
    limited = None if time in selected else image.encoding.limits.get(time)
    if limited and _ends_in_zeros(image, time, unmeasured, limited.maximum):
        limited = None
    frames, n_frames = _frames(image, time, limited, slices)
    return Counters(slices, frames, n_frames, image.n_values("average"), time)


def require_within_limit(image: Readouts, name: str) -> None:
    """Check a counter against its limit.

    An isolated value above the limit is an error. If all values up to the largest one occur, the limit is wrong, which
    is a warning.

    Raises
    ------
    HeaderError
        If an isolated value exceeds the limit; the error names the readout.
    """
    limit, values = image.encoding.limits.get(name), image.counter(name)
    if limit is None or values.max() <= limit.maximum:
        return
    numbers = np.unique(values)
    largest = int(numbers[-1])
    if _is_counted_from_one(numbers, limit):
        image.warn(
            f"{name} is counted from {numbers[0]} to {largest}, "
            f"according to the header from {limit.minimum} to {limit.maximum}"
        )
        return
    if (name not in TIME or len(numbers) == 1) and _is_numbered_otherwise(values, limit):
        image.warn(
            f"{name} is {_listed(numbers)} in the readouts, but {limit.minimum} to {limit.maximum} in the header"
        )
        return
    if len(numbers) == largest + 1 - min(int(numbers[0]), limit.minimum):
        image.warn(f"the header's limit of {name} ({limit.maximum}) is too small, the data count to {largest}")
        return
    i = np.flatnonzero(values == largest)[0]
    what = f"acquisition {image.rows[i]} has {name} = {largest}, limit {limit.maximum}"
    raise HeaderError(what, where=image.at(i), hint="the counter is corrupted, or the header belongs to another scan")


def _is_counted_from_one(numbers: NDArray[np.integer], limit: Limit) -> bool:
    """Whether a counter without gaps starts at 1 instead of 0, and therefore exceeds its limit."""
    is_dense = len(numbers) == int(numbers[-1]) - int(numbers[0]) + 1
    return bool(is_dense and limit.minimum == 0 and numbers[0] == 1 and numbers[-1] > limit.maximum)


def _is_numbered_otherwise(values: NDArray[np.integer], limit: Limit) -> bool:
    """Whether a counter has as many values as its limit allows, each in a similar number of readouts."""
    counts = np.unique(values, return_counts=True)[1]
    is_common = counts.min() >= COMMON_VALUE * np.median(counts)
    return bool(len(counts) == limit.n_values and is_common)


def _require_single(image: Readouts, counter: str) -> None:
    numbers = np.unique(image.counter(counter))
    if len(numbers) > 1:
        meaning = " (multi-echo)" if counter == "contrast" else ""
        what = f"there are {len(numbers)} {counter}s{meaning}, values {_listed(numbers)}; one is read at a time"
        hint = f"{select_option(counter, numbers[0])} reads one of them"
        if image.n_values("phase") == image.n_values("repetition") == 1:
            hint += f"; --set preprocessing.time_counter={counter} reads them as frames"
        raise UnsupportedError(what, where=image.path, hint=hint)


def _time_counter(image: Readouts) -> str:
    """The counter of the frames: ``phase``, gated or not, or ``repetition`` if ``phase`` is constant."""
    phases, repetitions = np.unique(image.counter("phase")), np.unique(image.counter("repetition"))
    if len(phases) > 1 and len(repetitions) > 1:
        what = f"{len(phases)} phases x {len(repetitions)} repetitions: which of them is time?"
        hint = (
            f"--set preprocessing.select.repetition={repetitions[0]} if phase is time; "
            f"--set preprocessing.select.phase={phases[0]} if repetition is time; "
            "--set preprocessing.combine=[repetition] if the repetitions are heartbeats or averages of one cine"
        )
        raise UnsupportedError(what, where=image.path, hint=hint)
    if len(phases) == len(repetitions) == 1:
        limits = image.encoding.limits
        expected = {name: limits[name].maximum if name in limits else 0 for name in TIME}
        return "repetition" if expected["repetition"] and not expected["phase"] else "phase"
    return "repetition" if len(repetitions) > 1 else "phase"


def _sorted_slices(image: Readouts) -> Index:
    """Slice numbers by position along the slice direction; the slice counter follows the order of acquisition."""
    values, first, inverse = np.unique(image.counter("slice"), return_index=True, return_inverse=True)
    slices: Index = np.asarray(inverse, np.intp)
    firsts = image.where(first)
    normals = firsts.field("slice_dir").astype(np.float64)
    along = firsts.field("position").astype(np.float64) @ normals[0]
    if len(values) == 1 or not np.isfinite(along).all():
        return slices
    if np.all(normals @ normals[0] > 0.99):
        spacing, extent = float(np.diff(np.sort(along)).min()), float(np.ptp(along))
        thickness = image.encoding.recon.fov_mm[2]
        if spacing < SAME_POSITION_MM:
            image.warn("two slices have the same position: slices are in the order of their counter")
        elif spacing < MIN_SPACING_FRACTION * thickness:
            image.warn(
                f"slices of {thickness:.3g} mm are {spacing:.2g} mm apart: positions are probably in a different unit"
            )
        elif thickness > max(MAX_OVERLAP * spacing, WHOLE_STACK * extent):
            image.warn(
                f"slices of {thickness:.3g} mm are {spacing:.3g} mm apart: fieldOfView_mm z in the header is "
                "probably that of the whole stack, so the slice thickness in the images is wrong"
            )
        order = np.argsort(along, kind="stable")
        return np.asarray(np.argsort(order)[slices])
    if not normals.any():
        image.warn("slices have no direction: slices are in the order of their counter")
    return slices


def _warn_of_missing_values(image: Readouts, counter: str) -> None:
    limit, n_values = image.encoding.limits.get(counter), image.n_values(counter)
    if limit is not None and n_values < limit.n_values:
        image.warn(f"the header has {limit.n_values} {counter}s, the data {n_values}")


def _ends_in_zeros(image: Readouts, time: str, unmeasured: Index, maximum: int) -> bool:
    """Whether all frames after the last measured one are stored as zeros, i.e. the series was padded."""
    measured = image.counter(time)
    stored = np.union1d(measured, image.raw.heads["idx"][time][unmeasured])
    filled = stored[stored > measured.max()]
    if filled.size == 0 or stored.max() < maximum:
        return False
    if filled.size == 1:
        image.warn("the last frame contains only zeros: it is excluded")
    else:
        image.warn(f"the last {filled.size} frames contain only zeros: they are excluded")
    return True


def _frames(image: Readouts, time: str, limit: Limit | None, slices: Index) -> tuple[Index, tuple[int, ...]]:
    """Number the frames from 0, and count them for each slice; slices may have different numbers of frames."""
    values = image.counter(time)
    if limit is not None and _is_counted_from_one(np.unique(values), limit):
        limit = None
    start = int(values.min()) if limit is None else min(limit.minimum, int(values.min()))
    frames = values - start
    numbers = np.unique(frames)
    expected = int(numbers[-1]) + 1 if limit is None else max(int(numbers[-1]), limit.maximum - start) + 1
    if len(numbers) < expected:
        missing = np.setdiff1d(np.arange(min(expected, len(numbers) + 1)), numbers)[0]
        what = (
            f"frame {missing} of {expected} holds no lines: "
            f"{time} counts to {expected + start - 1}, the data contain {len(numbers)} values of it"
        )
        raise DataError(what, where=image.path, hint="correct the limit in the header if the scan was stopped early")
    n_frames = []
    for number in range(int(slices.max()) + 1):
        present = np.unique(frames[slices == number])
        missing_here = np.setdiff1d(np.arange(present[-1] + 1), present)
        if missing_here.size:
            what = f"frame {missing_here[0]} of slice {number} holds no lines ({time} {missing_here[0] + start})"
            raise DataError(what, where=image.path, hint="a cine needs data in every frame")
        n_frames.append(len(present))
    if len(set(n_frames)) > 1:
        image.warn(f"slices differ in their number of frames: {', '.join(map(str, n_frames))}")
    return frames, tuple(n_frames)


def _listed(values: NDArray[np.integer]) -> str:
    texts = [str(value) for value in values[:6]]
    return ", ".join(texts) + (", ..." if len(values) > 6 else "")
