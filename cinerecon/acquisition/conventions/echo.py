"""Correction of the sample at the centre of k-space if the header lacks it or if it contradicts the echo."""

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.subset import PEAK_POWER_RATIO, Readouts
from cinerecon.errors import ConfigError, HeaderError
from cinerecon.io.ismrmrd.raw import REVERSE, Heads, has_flag

N_ECHO_PROBES = 16
"""Number of readouts with the largest samples from which the position of the echo is determined."""
ECHO_TOLERANCE = 1 / 8
"""Largest distance between echo and centre of k-space, as a fraction of the readout; field inhomogeneity shifts the
echo."""
LARGEST_GAP, ASYMMETRY = 2, 4
"""Number of columns between an asymmetric readout and the nearer edge of the matrix up to which its centre is probably
wrong, and smallest ratio of the number of columns missing at the other edge to this number."""


def set_echo_centre(readouts: Readouts, centre: int) -> None:
    """Set the centre of all readouts to the requested sample.

    Raises
    ------
    ConfigError
        If the readouts do not contain this sample.
    """
    n_samples = int(readouts.field("number_of_samples").min())
    if centre >= n_samples:
        what = f"the requested centre is sample {centre}, the readouts contain {n_samples}"
        raise ConfigError(what, where="--set preprocessing.center_sample")
    readouts.raw.heads["center_sample"][readouts.rows] = centre


def require_echo_in_middle(readouts: Readouts) -> None:
    """Refuse asymmetric echoes whose ``center_sample`` is the middle of the readout.

    They would be interpreted as symmetric readouts of a zero-filled matrix, with lower resolution.

    Raises
    ------
    HeaderError
        If the echo is closer to the position expected for an asymmetric readout that reaches one edge of the matrix.
    """
    kx = readouts.encoding.encoded.matrix[0]
    whole = readouts.where((readouts.field("discard_pre") == 0) & (readouts.field("discard_post") == 0))
    for _, alike in whole.groups("number_of_samples", "center_sample"):
        length, claimed = _length_and_centre(alike)
        possible = [centre for centre in (kx // 2, length - kx // 2) if 0 < centre < length]
        if length >= kx or abs(claimed - length // 2) > 1 or not possible:
            continue
        peak, is_clear = _echo(alike, claimed)
        nearest = min(possible, key=lambda centre: abs(centre - peak))
        if is_clear and abs(nearest - peak) < abs(claimed - peak):
            what, hint = _describe_echo(length, claimed, peak, nearest)
            raise HeaderError(what, where=alike.at(0), hint=hint)


def _length_and_centre(readouts: Readouts) -> tuple[int, int]:
    """Number of samples, and ``center_sample``, of the first readout."""
    length, centre = (
        int(readouts.raw.heads[name][readouts.rows[0]]) for name in ("number_of_samples", "center_sample")
    )
    return length, centre


def _describe_echo(length: int, claimed: int, peak: int, by_data: int) -> tuple[str, str]:
    """Description of an echo far from ``center_sample``, and a hint."""
    what = f"center_sample is {claimed} of {length} samples, the echo is at sample {peak}"
    option = "--set preprocessing.center_sample"
    hint = f"{option}={by_data} follows the data, {option}={claimed} the header"
    return what, hint


def correct_echo_centre(readouts: Readouts) -> None:
    """Set ``center_sample`` if it is missing, or impossible for a readout that covers all columns.

    The centre of a readout as long as encodedSpace x is its middle. The centre of a shorter readout is its echo.

    Raises
    ------
    HeaderError
        If the echo is far from the centre given in the header.
    """
    centre, kx = readouts.raw.heads["center_sample"], readouts.encoding.encoded.matrix[0]
    is_missing = (readouts.field("number_of_samples") == kx) & (readouts.field("center_sample") == 0) & (kx > 1)
    missing = readouts.rows[is_missing]
    if missing.size:
        readouts.warn(f"center_sample is 0 in {missing.size} readouts of all {kx} samples: {kx // 2} is used")
        centre[missing] = kx // 2
    _count_reversed_forward(readouts, kx)
    for _, alike in readouts.groups("number_of_samples"):
        length, claimed = _length_and_centre(alike)
        if claimed < length and bool((centre[alike.rows] == claimed).all()):
            centre[alike.rows] = _checked_centre(alike, kx)


def _count_reversed_forward(readouts: Readouts, kx: int) -> None:
    """Convert ``center_sample`` of reversed readouts to forward order if it is counted in storage order."""
    is_reverse = readouts.has_flag(REVERSE)
    for _, alike in readouts.where(is_reverse).groups("number_of_samples", "center_sample"):
        length, claimed = _length_and_centre(alike)
        forward = length - 1 - claimed
        if not 0 <= forward < length:
            continue
        if length == kx:
            is_stored = claimed != forward == kx // 2
        else:
            peak, _ = _echo(alike, claimed)
            is_stored = abs(peak - forward) < ECHO_TOLERANCE * length < abs(peak - claimed)
        if is_stored:
            what = f"center_sample of reversed readouts is {claimed} of {length} as stored"
            readouts.warn(f"{what}, {forward} as forward readouts")
            readouts.raw.heads["center_sample"][alike.rows] = forward


def _checked_centre(readouts: Readouts, kx: int) -> int:
    """The centre of readouts with equal length and equal ``center_sample``."""
    length, claimed = _length_and_centre(readouts)
    if readouts.field("discard_pre").any() or readouts.field("discard_post").any():
        return claimed
    peak, is_clear = _echo(readouts, claimed)
    is_far = is_clear and abs(peak - claimed) > ECHO_TOLERANCE * length
    if length == kx and claimed == kx // 2 and not is_far:
        return claimed
    possible = np.array([kx // 2, length - kx // 2, length // 2])
    nearest = int(possible[np.abs(possible - peak).argmin()])
    is_near = abs(nearest - peak) <= ECHO_TOLERANCE * length and 0 < nearest < length
    if length == kx and claimed != kx // 2:
        if abs(claimed - kx // 2) <= 1 or abs(peak - kx // 2) <= ECHO_TOLERANCE * kx:
            readouts.warn(f"center_sample is {claimed} in readouts of all {kx} samples: {kx // 2} is used")
            return kx // 2
    elif claimed == 0 and is_near:
        readouts.warn(f"center_sample is 0, the echo of the readouts is at sample {peak}: {nearest} is used")
        return nearest
    if not is_far:
        _compare_with_edges(readouts, kx)
        return claimed
    what, hint = _describe_echo(length, claimed, peak, nearest if is_near else peak)
    if length == kx and min(peak, length - peak) <= 1:
        hint = "the samples are in FFT order: write the centre of k-space in their middle (fftshift)"
    raise HeaderError(what, where=readouts.at(0), hint=hint)


def _compare_with_edges(readouts: Readouts, kx: int) -> None:
    """Report a centre that places an asymmetric readout just short of an edge of the matrix, which it should reach."""
    length, claimed = _length_and_centre(readouts)
    before = kx // 2 - claimed
    after = kx - before - length
    gap, other = sorted((before, after))
    if 0 < gap <= LARGEST_GAP and other >= ASYMMETRY * gap:
        centre = claimed - gap if gap == after else claimed + gap
        readouts.warn(
            f"with center_sample {claimed} the asymmetric readouts of {length} samples end {gap} of {kx} columns "
            f"before the edge of k-space: is {centre} the centre? --set preprocessing.center_sample={centre} sets it"
        )


def _echo(readouts: Readouts, claimed: int) -> tuple[int, bool]:
    """The sample with the strongest signal, and whether it clearly exceeds the samples around ``center_sample``."""
    raw, rows = readouts.raw, readouts.readable().rows
    channels = raw.heads["active_channels"]
    rows = rows[channels[rows] == channels[rows[0]]]
    strongest = np.sort(rows[np.argsort(raw.amplitude[rows], kind="stable")[-N_ECHO_PROBES:]])
    power = _power(raw.unspoiled_samples(strongest), raw.heads[strongest])
    around = power[max(claimed - 3, 0) : claimed + 4].max()
    return int(power.argmax()), bool(power.max() > PEAK_POWER_RATIO * around)


def _power(samples: NDArray[np.complex64], heads: Heads) -> NDArray[np.float64]:
    """Median fraction of the energy of a readout in each sample, in forward order, ``(samples,)``."""
    power = (np.abs(samples.astype(np.complex128)) ** 2).sum(1)
    is_reverse = has_flag(heads, REVERSE)
    power[is_reverse] = power[is_reverse, ::-1]
    total = power.sum(1, keepdims=True)
    return np.asarray(np.median(power / np.where(total > 0, total, 1.0), axis=0))  # robust against spikes
