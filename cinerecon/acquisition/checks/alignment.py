"""Direction, sign, gain and agreement of the central readouts, judged by their samples, not by the header.

Near the centre of k-space the magnitudes of adjacent lines along x are nearly equal. A readout that ran backwards and
is not flagged as such is mirrored. The signs of adjacent samples are nearly equal if the image is in the middle of the
field of view; where they alternate, by RF phase cycling or a transform without a shift, the image is at its edges.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.amplitudes import saturation_warnings
from cinerecon.acquisition.checks.coherence import (
    PATCH_DISTANCE,
    PHASE_DISTANCE,
    coherence_warnings,
    displacement_warnings,
)
from cinerecon.acquisition.checks.coil_changes import Samples, are_coils_exchanged
from cinerecon.acquisition.checks.repeats import line_samples
from cinerecon.acquisition.grid import Grid
from cinerecon.acquisition.placement import Lines
from cinerecon.axes import centre_slice, mirrored_indices
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import REVERSE, Index, RawScan, has_flag

MAX_DISTANCE = 1
"""Largest distance of the examined lines from the centre of k-space."""
MAX_READOUTS = 24
"""Largest number of readouts that are examined."""
MAX_PHASE_FRAMES = 32
"""Largest number of frames whose phases are compared."""
MAX_FRAMES_OTHER_SLICES = 16
"""The same for slices other than the middle one."""
MAX_PATCH_FRAMES = 4
"""Largest number of readouts of a line that are averaged for the comparison with the next lines."""
MIN_MIRRORED = 2
"""Smallest number of readouts that are reported as mirrored."""
CORRELATION_DIFFERENCE = 0.03
"""Smallest difference of the correlations with and without mirroring that shows the direction; 0.05 to 0.5 in scans."""
MIN_COILS = 3
"""Smallest number of coils with which images along x differ clearly from their mirror images."""
MIN_BALANCE = 0.6
"""Smallest ratio of the mean differences of the two directions; readouts that resemble their own mirror image have
small ones."""
ALTERNATING = "an RF phase cycle or a shift was not corrected, and the image is at the edges of the field of view"
MIN_ALTERNATING, ALTERNATING_RATIO = 6, 1.3
"""Smallest number of frames that may alternate, and smallest ratio of the energy of the highest temporal frequency to
the smallest energy of all others if they do: 1.5 to 60 for velocity encodings; at most 1.1 in cines and in noise."""
SMALLEST_CORRELATION = 0.2
"""Correlation of adjacent samples of a readout, positive or negative, below which they are mostly noise."""
MAX_ENERGY_OUTSIDE = 0.4
"""Fraction of the energy outside the field of view above which the image is cut off; arms have less."""
LOUD_COIL_RATIO = 50.0
"""Ratio of the amplitude of the loudest coil to the median above which gains differ; coils near the heart have 10."""
PROFILE_DISTANCE = 4
"""Largest distance from the centre of k-space of the lines that give the profile of the image along y."""
N_PROFILE = 64
"""Number of points of the profile."""
MIN_MIDDLE = 0.4
"""Ratio of the energy in the middle of the field of view to that at its edges, below which the image may be at the
edges. Hearts have at least 0.6; shifted by half a field of view, 7 of 10 have less than 0.4. So have 4 % of the
phantoms, which fill the field of view, without a shift."""
OPPOSITE_SIGNS_ALONG_X, OPPOSITE_SIGNS_ALONG_Y = -0.5, -0.65
"""Correlations of adjacent samples and lines below which their signs alternate; images that fill the field of view have
-0.4 and, of phantoms with few frames, -0.57."""


class NearCentre(NamedTuple):
    """The readouts of a slice, of which those near the centre of k-space are compared.

    Attributes
    ----------
    frames, ky
        ``(readouts,)``; ky is counted from the centre.
    order
        ``(readouts,)`` their order in time; None if it is unknown.
    read
        Reads the readouts at some indices, ``(readouts, coils, kx)``.
    """

    frames: Index
    ky: Index
    order: Index | None
    read: Callable[[Index], Samples]


def alignment_warnings(raw: RawScan, lines: Lines, coils: Index, grid: Grid) -> Iterator[str]:
    """Check direction, sign and gain of the readouts in the middle slice, and agreement of the frames in all slices.

    Raises
    ------
    DataError
        If the samples are real numbers.
    """
    central = _central_lines(lines, grid)
    if len(central.row) < 2 * MIN_MIRRORED:
        return
    samples = _on_grid(raw, central, grid)[:, coils]
    require_complex(bool(samples.real.any()), bool(samples.imag.any()), str(raw.path))
    yield from _loud_coils(samples, coils)
    yield from cut_off_warnings(samples, grid.x)
    backward = find_backward(samples)
    if backward.size:
        n_flagged = int(has_flag(raw.heads[central.row[backward]], REVERSE).sum())
        yield (
            f"{describe_backward(backward, samples)}, such as acquisition {central.row[backward[0]]}; {n_flagged} have "
            "flag 22 (reverse): if the flags are wrong, lines are mirrored, and the image is not to be trusted"
        )
    middle = int(lines.slices.max()) // 2
    own = lines.of_slice(middle)
    order = np.unique(own.row, return_inverse=True)[1].ravel()
    read = lambda chosen: _on_grid(raw, own.where(chosen), grid)[:, coils]  # noqa: E731
    readouts = NearCentre(own.frames, own.ky - grid.ky // 2, order, read)
    known = list(agreement_warnings(readouts, coils, is_aligned=backward.size == 0))
    yield from known
    yield from _other_slice_warnings(raw, lines.where(lines.slices != middle), coils, grid, known)
    if raw.header.venc_cm_s is not None and _alternates(raw, lines, coils, grid):
        yield (
            f"the header has a VENC of {raw.header.venc_cm_s:g} cm/s and the readouts are of one set, but every other "
            "frame differs: are velocity encodings numbered as frames? if so, number them in the counter set, and do "
            "not trust this image"
        )


def _other_slice_warnings(raw: RawScan, lines: Lines, coils: Index, grid: Grid, known: list[str]) -> Iterator[str]:
    """Warnings about the first of some slices whose central lines do not agree between frames."""
    for number in np.unique(lines.slices):
        own = lines.of_slice(int(number))
        chosen = spread_over_frames(own.frames, own.ky - grid.ky // 2, PHASE_DISTANCE, MAX_FRAMES_OTHER_SLICES)
        own = own.where(chosen)
        if own.row.size == 0:
            continue
        samples = _on_grid(raw, own, grid)[:, coils].astype(np.complex64)
        texts = coherence_warnings(samples, own.frames, own.ky - grid.ky // 2, coils)
        if new := [text for text in texts if text not in known]:
            yield from (f"slice {number}: {text}" for text in new)
            return


def calibration_warnings(raw: RawScan, lines: Lines, calibration: Lines, coils: Index, grid: Grid) -> Iterator[str]:
    """A warning if the coils of the calibration lines are in another order than those of the image lines.

    Those of the first slice with calibration lines are compared.
    """
    separate = calibration.where(~np.isin(calibration.row, lines.row))
    if separate.row.size == 0:
        return
    number = int(separate.slices.min())
    parts = (separate.of_slice(number), lines.of_slice(number))
    common = np.intersect1d(parts[0].ky, parts[1].ky)
    common = common[np.abs(common - grid.ky // 2) <= PHASE_DISTANCE]
    if common.size == 0:
        return
    first = (np.unique(part.ky, return_index=True) for part in parts)
    rows = [part.where(index[np.searchsorted(ky, common)]) for part, (ky, index) in zip(parts, first, strict=True)]
    if are_coils_exchanged([*zip(*(_on_grid(raw, part, grid)[:, coils] for part in rows), strict=True)]):
        yield (
            "the coils of the calibration lines are in another order than those of the image lines, or are other "
            "coils: do not trust coil maps and image"
        )


def require_complex(has_real: bool, has_imaginary: bool, where: str) -> None:
    """Refuse real samples: those of a receiver are complex, and the image would be added to its mirror image.

    Raises
    ------
    DataError
        If no sample has an imaginary part, and some have a real one.
    """
    if has_real and not has_imaginary:
        hint = "write real and imaginary parts of the samples, not their magnitude or real part"
        raise DataError("no sample has an imaginary part: k-space is complex", where=where, hint=hint)


def agreement_warnings(readouts: NearCentre, coils: Index, *, is_aligned: bool) -> Iterator[str]:
    """Warnings if lines near the centre are saturated, or do not agree between frames or with adjacent lines."""
    frames, ky, order, read = readouts
    chosen = spread_over_frames(frames, ky, PHASE_DISTANCE, MAX_PHASE_FRAMES)
    samples = read(chosen)
    yield from saturation_warnings(samples, ky[chosen])
    yield from coherence_warnings(samples, frames[chosen], ky[chosen], coils)
    chosen = spread_over_frames(frames, ky, PATCH_DISTANCE, MAX_PATCH_FRAMES)
    samples = read(chosen)
    yield from _sign_warnings(samples, ky[chosen])
    if is_aligned:  # otherwise the cause has been reported already
        yield from displacement_warnings(samples, ky[chosen], None if order is None else order[chosen])


def _alternates(raw: RawScan, lines: Lines, coils: Index, grid: Grid) -> bool:
    """Whether every other frame of the middle slice differs, by the central lines that all of its frames have."""
    own = lines.of_slice(int(lines.slices.max()) // 2)
    n_frames = min(int(own.frames.max()) + 1, MAX_PHASE_FRAMES) // 2 * 2
    own = own.where((np.abs(own.ky - grid.ky // 2) <= PHASE_DISTANCE) & (own.frames < n_frames))
    order = np.unique(np.stack([own.ky, own.frames], 1), axis=0, return_index=True)[1]
    own = own.where(order)
    ky, counts = np.unique(own.ky, return_counts=True)
    own = own.where(np.isin(own.ky, ky[counts == n_frames]))
    if n_frames < MIN_ALTERNATING or own.row.size == 0:
        return False
    samples = _on_grid(raw, own, grid)[:, coils]
    power = (np.abs(np.fft.fft(samples.reshape(-1, n_frames, samples[0].size), axis=1)) ** 2).sum((0, 2))
    half = n_frames // 2
    return bool(power[half] > ALTERNATING_RATIO * power[1:half].min())


def spread_over_frames(frames: Index, ky: Index, distance: int, n_frames: int) -> Index:
    """Indices of readouts of each line near the centre, from frames spread evenly over the cine."""
    near = np.flatnonzero(np.abs(ky) <= distance)
    readouts = near[np.lexsort((frames[near], ky[near]))]  # line by line, and by frame
    _, first, count = np.unique(ky[readouts], return_index=True, return_counts=True)
    places = first[:, None] + np.linspace(0, count - 1, n_frames, axis=1).round().astype(np.intp)
    is_first = np.diff(places, axis=1, prepend=-1) > 0
    return np.asarray(readouts[places[is_first]])


def _sign_warnings(samples: Samples, ky: Index) -> Iterator[str]:
    """Warnings if the signs alternate from sample to sample or from line to line.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)`` readouts near the centre of k-space.
    ky
        ``(readouts,)``, counted from the centre.
    """
    lines = {int(line): samples[ky == line].mean(0) for line in np.unique(ky[np.abs(ky) <= PROFILE_DISTANCE])}
    if _correlation_along_x(samples[np.abs(ky) <= MAX_DISTANCE]) < OPPOSITE_SIGNS_ALONG_X:
        yield f"the signs of the samples alternate along the readouts: {ALTERNATING} along x"
    if _correlation_along_y(lines) < OPPOSITE_SIGNS_ALONG_Y:
        yield f"the signs of the lines alternate: {ALTERNATING} along y"
    elif _middle_over_edges(lines) < MIN_MIDDLE:
        yield (
            "the edges of the field of view along y have more signal than its middle: either the object fills it, or "
            f"{ALTERNATING} along y"
        )


def _central_lines(lines: Lines, grid: Grid) -> Lines:
    """Lines of the middle slice near the centre of k-space, from the first frames."""
    own = lines.of_slice(int(lines.slices.max()) // 2)
    near = own.where(np.abs(own.ky - grid.ky // 2) <= MAX_DISTANCE)
    order = np.argsort(near.frames, kind="stable")[:MAX_READOUTS]
    return near.where(np.sort(order))


def _on_grid(raw: RawScan, lines: Lines, grid: Grid) -> NDArray[np.complex128]:
    """Samples on the encoded grid, ``(readouts, coils, kx)``."""
    coils = int(raw.heads["active_channels"][lines.row[0]])
    samples = np.zeros((len(lines.row), coils, grid.kx), np.complex128)
    for readout, start, measured in zip(samples, lines.start, line_samples(raw, lines), strict=True):
        readout[:, start : start + measured.shape[1]] = measured
    return samples


def find_backward(samples: Samples) -> Index:
    """Indices of the readouts that seem to run opposite to the majority; empty with few coils.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)`` readouts near the centre of k-space.
    """
    if (
        samples.shape[1] < MIN_COILS
        or len(samples) < 2 * MIN_MIRRORED
        or abs(_correlation_along_x(samples)) <= SMALLEST_CORRELATION
    ):
        return np.empty(0, np.intp)
    image = np.abs(np.fft.fftshift(np.fft.fft(np.fft.ifftshift(samples, axes=-1), axis=-1), axes=-1))
    mirrored = image[..., mirrored_indices(image.shape[-1])]
    reference = image[int(np.linalg.norm(image, axis=(1, 2)).argmax())]
    difference = _correlation(mirrored, reference) - _correlation(image, reference)
    groups = [np.flatnonzero(difference > CORRELATION_DIFFERENCE), np.flatnonzero(difference < -CORRELATION_DIFFERENCE)]
    fewer = min(groups, key=len)
    if len(fewer) < MIN_MIRRORED:
        return fewer[:0]
    means = [float(np.abs(difference[group]).mean()) for group in groups]
    return fewer if min(means) >= MIN_BALANCE * max(means) else fewer[:0]


def describe_backward(backward: Index, samples: Samples) -> str:
    """Text with the number of readouts that run backwards."""
    return f"{len(backward)} of {len(samples)} central readouts seem to run opposite to the others"


def _correlation(images: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of magnitudes ``(readouts, coils, x)`` with one of them, ``(readouts,)``."""
    norms = np.linalg.norm(images, axis=(1, 2)) * np.linalg.norm(reference)
    return np.asarray((images * reference).sum((1, 2)) / np.where(norms > 0, norms, 1.0))


def cut_off_warnings(samples: Samples, x: int) -> Iterator[str]:
    """A warning if much of the energy of readouts ``(readouts, coils, kx)`` is outside of the central ``x`` columns."""
    power = (np.abs(np.fft.fftshift(np.fft.fft(np.fft.ifftshift(samples, axes=-1), axis=-1), axes=-1)) ** 2).sum((0, 1))
    total = float(power.sum())
    outside = 1 - float(power[centre_slice(len(power), x)].sum()) / total if total else 0.0
    if outside > MAX_ENERGY_OUTSIDE:
        yield (
            f"{outside:.0%} of the signal is outside the field of view of the image along x, and cut off; "
            "--set preprocessing.remove_oversampling=false keeps it"
        )


def _loud_coils(samples: NDArray[np.complex128], coils: Index) -> Iterator[str]:
    """A warning if a coil has far more signal than the others, as with a wrong gain."""
    amplitude = np.linalg.norm(samples, axis=(0, 2))
    usual, loudest = float(np.median(amplitude)), int(amplitude.argmax())
    if len(amplitude) > 2 and amplitude[loudest] > LOUD_COIL_RATIO * usual > 0:
        yield (
            f"coil {coils[loudest]} has {amplitude[loudest] / usual:.3g} times the amplitude of the others and "
            f"dominates the image; --set preprocessing.exclude_coils=[{coils[loudest]}] leaves it out"
        )


def _correlation_along_x(samples: Samples) -> float:
    """Real part of the correlation of adjacent samples of a readout."""
    energy = float((np.abs(samples) ** 2).sum())
    return float((samples[..., 1:] * samples[..., :-1].conj()).real.sum()) / energy if energy else 0.0


def _correlation_along_y(lines: dict[int, Samples]) -> float:
    """Real part of the correlation of adjacent central lines ``(coils, kx)``; 0 if there are none."""
    pairs = [
        (lines[line], lines[line + 1]) for line in range(-MAX_DISTANCE, MAX_DISTANCE) if {line, line + 1} <= {*lines}
    ]
    norms = sum(float(np.linalg.norm(first) * np.linalg.norm(second)) for first, second in pairs)
    return sum(float(np.vdot(first, second).real) for first, second in pairs) / norms if norms else 0.0


def _middle_over_edges(lines: dict[int, Samples]) -> float:
    """Energy of the middle eighth of the field of view along y over that of the two sixteenths at its edges.

    Infinite if a line next to the centre is missing.
    """
    if not {-2, -1, 0, 1, 2} <= {*lines}:
        return np.inf
    n, window = N_PROFILE, np.hanning(2 * PROFILE_DISTANCE + 3)[1:-1]
    kspace = np.zeros((n, *lines[0].shape), np.complex128)
    for line, values in lines.items():
        kspace[line % n] = window[line + PROFILE_DISTANCE] * values
    profile = np.fft.fftshift((np.abs(np.fft.ifft(kspace, axis=0)) ** 2).sum((1, 2)))
    edges = float(np.concatenate([profile[: n // 16], profile[-n // 16 :]]).sum())
    return float(profile[centre_slice(n, n // 8)].sum()) / edges if edges else np.inf
