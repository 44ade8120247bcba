"""The sample at the centre of k-space, where the readouts' headers leave it out or contradict their samples."""

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.kspace_centre import CLEARLY
from cinerecon.acquisition.ordering import PILOT_TONE
from cinerecon.errors import ConfigError, HeaderError
from cinerecon.io.ismrmrd.raw import Heads, Index, RawScan, has_flag

N_PROBES = 16
"""Readouts of the largest samples that show where the echo is."""
NEAR = 1 / 8
"""Part of a readout by which the echo may miss the centre of k-space: field inhomogeneity moves it."""


def correct_echo_centre(raw: RawScan, image: Index, asked: int | None, warn: Warn) -> None:
    """Set ``center_sample`` where it was not written, or where a readout of all columns claims an impossible one.

    A readout as long as encodedSpace x has its centre at half of it. A shorter one shows its centre by its echo.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    asked
        The centre that the user gives to all readouts; None takes the headers'.
    warn
        Called with each correction.

    Raises
    ------
    HeaderError
        If the echo is far from the header's centre.
    ConfigError
        If the centre that was asked for is no sample of the readouts.
    """
    n_samples = raw.heads["number_of_samples"][image].astype(np.intp)
    centre = raw.heads["center_sample"]
    if asked is not None:
        if asked >= n_samples.min():
            what = f"the centre is to be sample {asked}, the readouts hold {n_samples.min()}"
            raise ConfigError(what, where="--intake center_sample")
        centre[image] = asked
        return
    kx = raw.header.encodings[0].encoded.matrix[0]
    whole = image[n_samples == kx]
    missing = whole[centre[whole] == 0] if kx > 1 else whole[:0]
    if missing.size:
        warn(f"center_sample is 0 in {missing.size} readouts of all {kx} samples: {kx // 2} is taken")
        centre[missing] = kx // 2
    for length in np.unique(n_samples):
        rows = image[n_samples == length]
        for claimed in np.unique(centre[rows]):
            alike = rows[centre[rows] == claimed]
            if claimed < length and len(alike) == len(rows):
                centre[alike] = _checked_centre(raw, alike, int(claimed), kx, warn)


def _checked_centre(raw: RawScan, rows: Index, claimed: int, kx: int, warn: Warn) -> int:
    """The centre of readouts of one length that all claim the same one."""
    length = int(raw.heads["number_of_samples"][rows[0]])
    is_discarding = bool(raw.heads["discard_pre"][rows].any() or raw.heads["discard_post"][rows].any())
    if is_discarding or (length == kx and claimed == kx // 2):
        return claimed
    peak, is_clear = _echo(raw, rows, claimed)
    possible = np.array([kx // 2, length - kx // 2, length // 2])
    nearest = int(possible[np.abs(possible - peak).argmin()])
    is_near = abs(nearest - peak) <= NEAR * length and 0 < nearest < length
    if length == kx:
        if abs(claimed - kx // 2) <= 1 or abs(peak - kx // 2) <= NEAR * kx:
            warn(f"center_sample is {claimed} in readouts of all {kx} samples: {kx // 2} is taken")
            return kx // 2
    elif claimed == 0 and is_near:
        warn(f"center_sample is 0, the echo of the readouts is at sample {peak}: {nearest} is taken")
        return nearest
    if not is_clear or abs(peak - claimed) <= NEAR * length:
        return claimed
    what = f"center_sample is {claimed} of {length} samples, the echo is at sample {peak}"
    hint = f"--intake center_sample={nearest if is_near else peak} follows the data, center_sample={claimed} the header"
    raise HeaderError(what, where=raw.at(rows[0]), hint=hint)


def _echo(raw: RawScan, rows: Index, claimed: int) -> tuple[int, bool]:
    """The sample of most signal, and whether it is clearly stronger than those around the claimed centre."""
    strongest = np.sort(rows[np.argsort(raw.amplitude[rows], kind="stable")[-N_PROBES:]])
    samples = raw.samples(strongest)
    if raw.header.has_pilot_tone:
        samples[..., : PILOT_TONE[0]] = samples[..., -PILOT_TONE[1] :] = 0
    power = _power(samples, raw.heads[strongest])
    around = power[max(claimed - 3, 0) : claimed + 4].max()
    return int(power.argmax()), bool(power.max() > CLEARLY * around)


def _power(samples: NDArray[np.complex64], heads: Heads) -> NDArray[np.float64]:
    """Mean power of each sample, in the order of a forward readout; ``(samples,)``."""
    power = (np.abs(samples.astype(np.complex128)) ** 2).sum(1)
    is_reverse = has_flag(heads, 22)
    power[is_reverse] = power[is_reverse, ::-1]
    return power.mean(0)
