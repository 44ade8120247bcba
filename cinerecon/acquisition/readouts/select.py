"""Selection of the image, noise and calibration readouts by flags and encoding.

Readouts that contain only zeros are treated as not measured, since some programs store complete matrices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import AcquisitionConfig, Counter, select_option
from cinerecon.acquisition.readouts.subset import Readouts, Warn
from cinerecon.errors import DataError, HeaderError, UnsupportedError
from cinerecon.io.ismrmrd.raw import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    FLAGS,
    NOISE,
    Heads,
    Index,
    RawScan,
    has_flag,
)

NOT_IMAGE = {
    23: "navigator",
    24: "phase correction",
    26: "feedback of hyperpolarised scans",
    27: "dummy scan before the steady state",
    28: "real-time feedback",
    29: "surface coil correction, not this image",
    30: "phase stabilisation reference",
    31: "phase stabilisation",
}
COMPRESSED = (53, 54, 55, 56)


@dataclass(frozen=True)
class Dropped:
    """Number of readouts that are not used for the image, and the reason."""

    n_readouts: int
    reason: str


@dataclass(frozen=True, eq=False)
class Selection:
    """The readouts of a scan by their use, as row numbers in the file.

    Attributes
    ----------
    image, noise
        Image readouts, and noise readouts for prewhitening.
    calibration
        Readouts flagged as calibration; some of them are also image readouts.
    dropped
        All other readouts, except those for calibration only.
    encoding
        Index of the encoding of the image readouts in the header.
    unmeasured
        Dropped readouts that contain only zeros.
    """

    image: Index
    noise: Index
    calibration: Index
    dropped: tuple[Dropped, ...]
    encoding: int
    unmeasured: Index


def count_flags(raw: RawScan) -> dict[str, int]:
    """Number of readouts with each flag that occurs, by number and name of the flag."""
    counts = {n: int(has_flag(raw.heads, n).sum()) for n in range(1, 65)}
    return {f"{n} {FLAGS.get(n, 'unknown')}": count for n, count in counts.items() if count}


def select_readouts(raw: RawScan, config: AcquisitionConfig, warn: Warn) -> Selection:
    """Classify the readouts as image lines, noise, calibration lines, or unused.

    Raises
    ------
    UnsupportedError
        If readouts are compressed, or the requested encoding has no image lines.
    DataError
        If no image lines remain.
    HeaderError
        If a readout refers to an encoding that the header does not describe.
    """
    heads = raw.heads
    _require_uncompressed(raw)
    is_noise = has_flag(heads, NOISE)
    rest = ~is_noise
    dropped = []

    def drop(which: NDArray[np.bool_], reason: str) -> None:
        nonlocal rest
        count = int((which & rest).sum())
        if count:
            dropped.append(Dropped(count, reason))
        rest = rest & ~which

    for flag, reason in NOT_IMAGE.items():
        drop(has_flag(heads, flag), f"flag {flag}: {reason}")
    calibration_only = rest & is_calibration_only(heads)
    readouts = Readouts(raw, np.flatnonzero(rest & ~calibration_only), warn)
    _require_known_encodings(readouts)
    encoding = choose_encoding(readouts, config.encoding)
    is_incompatible = calibration_only & ~np.isin(heads["encoding_space_ref"], _compatible_encodings(raw, encoding))
    drop(is_incompatible, f"flag {CALIBRATION}: calibration only, of another encoding")
    rest &= ~calibration_only
    for reference in np.unique(heads["encoding_space_ref"][rest]):
        if reference != encoding:
            drop(
                heads["encoding_space_ref"] == reference, f"encoding {reference}: encoding {encoding} is reconstructed"
            )
    if not rest.any():
        raise DataError(_nothing_left(raw, is_noise, dropped), where=str(raw.path))
    unmeasured = np.zeros(len(raw), bool)
    unmeasured[np.flatnonzero(rest)] = unmeasured_lines(raw, np.flatnonzero(rest))
    n_image = int(rest.sum())
    drop(unmeasured, "only zeros: not measured")
    if unmeasured.any():
        warn(f"{int(unmeasured.sum())} of {n_image} lines contain only zeros: they are treated as not measured")
    calibration = (calibration_only & ~is_incompatible) | (rest & has_flag(heads, CALIBRATION_AND_IMAGING))
    return Selection(
        image=np.flatnonzero(rest),
        noise=np.flatnonzero(is_noise),
        calibration=np.flatnonzero(calibration),
        dropped=tuple(dropped),
        encoding=encoding,
        unmeasured=np.flatnonzero(unmeasured),
    )


def keep_selected(raw: RawScan, selection: Selection, select: Mapping[Counter, int]) -> Selection:
    """Restrict the image readouts to the counter values selected by the user.

    Raises
    ------
    DataError
        If no readouts remain; the error lists the values that occur.
    """
    image, dropped = selection.image, list(selection.dropped)
    for counter, value in select.items():
        values = raw.heads["idx"][counter][image]
        is_other = values != value
        if is_other.all():
            what = f"no image lines have {counter} {value}, only {', '.join(map(str, np.unique(values)[:8]))}"
            hint = f"use {select_option(counter, values.min())}"
            raise DataError(what, where=str(raw.path), hint=hint)
        if is_other.any():
            dropped.append(Dropped(int(is_other.sum()), f"{counter} is not {value}, as selected"))
        image = image[~is_other]
    calibration = selection.calibration
    is_kept = np.isin(calibration, image) | is_calibration_only(raw.heads)[calibration]
    return replace(selection, image=image, calibration=calibration[is_kept], dropped=tuple(dropped))


def choose_encoding(image: Readouts, requested: int | None) -> int:
    """The encoding to reconstruct: the requested one, otherwise the first encoding with image readouts.

    Raises
    ------
    UnsupportedError
        If the requested encoding has no image readouts.
    """
    references = np.unique(image.field("encoding_space_ref"))
    if requested is not None:
        if requested not in references:
            what = f"encoding {requested} has no image lines, only encoding {', '.join(map(str, references))}"
            raise UnsupportedError(what, where="--set preprocessing.encoding")
        return requested
    n_encodings = len(image.raw.header.encodings)
    chosen = int(references[0]) if references.size else 0
    if n_encodings > 1:
        others = f"; --set preprocessing.encoding={references[1]} selects another one" if len(references) > 1 else ""
        image.warn(f"the header describes {n_encodings} encodings: encoding {chosen} is reconstructed{others}")
    return chosen


def _require_uncompressed(raw: RawScan) -> None:
    for flag in COMPRESSED:
        rows = np.flatnonzero(has_flag(raw.heads, flag))
        if rows.size:
            what = f"compressed acquisitions (flag {flag}, {rows.size} readouts) are not supported"
            raise UnsupportedError(what, where=raw.at(rows[0]), hint="convert the raw data without compression")


def is_calibration_only(heads: Heads | np.void) -> NDArray[np.bool_]:
    """Whether readouts are for coil maps only, ``(readouts,)`` bool."""
    return has_flag(heads, CALIBRATION) & ~has_flag(heads, CALIBRATION_AND_IMAGING)


def is_image_line(heads: Heads | np.void) -> NDArray[np.bool_]:
    """Whether readouts belong to an image according to their flags, ``(readouts,)`` bool, or a single value."""
    return ~(is_calibration_only(heads) | has_flag(heads, NOISE, *NOT_IMAGE))


def _require_known_encodings(image: Readouts) -> None:
    n_encodings, references = len(image.raw.header.encodings), image.field("encoding_space_ref")
    unknown = np.flatnonzero(references >= n_encodings)
    if unknown.size:
        i = unknown[0]
        what = f"encoding_space_ref is {references[i]}, the header describes {n_encodings} encoding(s), counted from 0"
        raise HeaderError(what, where=image.at(i))


def _compatible_encodings(raw: RawScan, encoding: int) -> list[int]:
    """The encodings with the same field of view, and therefore the same line spacing, as the given one."""
    spaces = [np.array(other.encoded.fov_mm[:2]) for other in raw.header.encodings]
    return [number for number, fov in enumerate(spaces) if np.allclose(fov, spaces[encoding], rtol=0.01)]


def _nothing_left(raw: RawScan, is_noise: NDArray[np.bool_], dropped: list[Dropped]) -> str:
    if is_noise.all():
        return f"only noise readouts ({len(raw)}), no image lines"
    reasons = "; ".join(f"{d.n_readouts} {d.reason}" for d in dropped)
    return f"no image lines among {len(raw)} readouts ({reasons})"


def require_alike(image: Readouts) -> None:
    """Check that image readouts have the same number of coils and, for equal centres, the same number of samples.

    Raises
    ------
    DataError
        If they differ; the error names the first such readout, its value, and the value of the others.
    """
    coils, centres = image.field("active_channels"), image.field("center_sample")
    _require_common(image, coils, "channels")
    if coils[0] == 0:
        raise DataError("the readouts have 0 channels", where=image.at(0))
    stored = image.field("number_of_samples").astype(np.int64)
    remaining = stored - image.field("discard_pre") - image.field("discard_post")
    empty = np.flatnonzero(remaining <= 0)
    if empty.size:
        i = empty[0]
        what = f"{stored[i]} samples, {stored[i] - remaining[i]} of them to be discarded: none remain"
        raise DataError(what, where=image.at(i))
    for centre in np.unique(centres):
        same = centres == centre
        _require_common(image.where(same), stored[same], "samples", f", same centre {centre}")
    outside = np.flatnonzero(centres >= stored)
    if outside.size:
        i = outside[0]
        what = f"center_sample is {centres[i]} of {stored[i]} samples, expected 0 to {stored[i] - 1}"
        raise DataError(what, where=image.at(i))


def _require_common(readouts: Readouts, values: NDArray[np.integer], unit: str, where: str = "") -> None:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        return
    common = int(distinct[counts.argmax()])
    i = np.flatnonzero(values != common)[0]
    what = f"acquisition {readouts.rows[i]} has {values[i]} {unit}, the others {common}{where}"
    raise DataError(what, where=readouts.at(i), hint="the file mixes two measurements, or is damaged")


EMPTY_AMPLITUDE = 1e-5
"""Largest amplitude of an empty line, relative to that of the strongest lines; noise is above it."""
EMPTY_GAP = 10.0
"""Smallest ratio of the amplitude of the weakest measured line to that of rounding errors in empty lines."""
STRONGEST_QUANTILE = 0.98
"""Quantile of the amplitudes of a slice that represents the strongest lines; larger amplitudes may be spikes."""


def unmeasured_lines(raw: RawScan, image: Index) -> NDArray[np.bool_]:
    """The image readouts that contain only zeros, or rounding errors of zeros, ``(readouts,)`` bool.

    A slice without any signal is left unchanged; reading it raises an error.
    """
    amplitude, slices = raw.amplitude[image], raw.heads["idx"]["slice"][image]
    is_valid = np.isfinite(amplitude)  # invalid samples are refused when they are read
    is_empty = np.zeros(len(image), bool)
    for value in np.unique(slices):
        own = np.flatnonzero((slices == value) & is_valid)
        if own.size and amplitude[own].any():
            is_empty[own] = amplitude[own] <= _empty_amplitude(amplitude[own])
    return is_empty


def _empty_amplitude(amplitude: NDArray[np.float64]) -> float:
    """Largest amplitude of the empty readouts of a slice, below a wide gap and far below the strongest lines."""
    limit = EMPTY_AMPLITUDE * float(np.quantile(amplitude, STRONGEST_QUANTILE, method="lower"))
    levels = np.unique(amplitude)
    gaps = np.flatnonzero(levels[1:] >= EMPTY_GAP * np.maximum(levels[:-1], np.finfo(float).tiny))
    gaps = gaps[levels[gaps] <= limit]
    return float(levels[gaps[-1]]) if gaps.size else -1.0
