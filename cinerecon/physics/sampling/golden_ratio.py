"""Golden-ratio patterns: GRO and CAVA, ``(frames, ky)``, and the temporal order of their readouts.

Both draw positions v on a uniform axis [-1, 1) and stretch it, k = v / s + (1 - 1 / s) v^3, so that the centre of
k-space has s times the mean density: CAVA, Rich et al. 2020, 10.1002/mrm.28059, equations 1 and 2; GRO, Joshi et al.
2022, arXiv 2206.03630. The exponent 3 and s = 2.2 are the defaults of the latter.

Departs from the papers in: a repeated line is moved to the nearest free line, so that the number of lines is exact.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cinerecon.physics.sampling.drawing import (
    Flags,
    MaskRequest,
    Numbers,
    around_centre,
    uniform_numbers,
    with_centre,
)

GOLDEN_RATIO = (5**0.5 - 1) / 2
CENTRE_DENSITY = 2.2
"""Density of the centre of k-space over the mean, s in the papers."""
Lines = NDArray[np.int64]


def golden(rng: Generator, request: MaskRequest) -> Flags:
    """GRO with twice the mean density in the centre: round(ky / R) lines in addition to the central lines."""
    n_lines = request.n_lines
    positions = offset_positions(rng, request.n_frames, n_lines)
    lines = stretched(positions, min(0.5, 1 - n_lines / request.ky), request.ky).astype(int)
    return with_centre(flags_of(lines.clip(0, request.ky - 1), request.ky), request.n_acs)


def gro(rng: Generator, request: MaskRequest) -> Flags:
    """Golden ratio offset: equal distances in a frame, shifted by the golden ratio of a distance from frame to frame.

    There are round(ky / R) lines, including the central lines. Since the offset never repeats, any sequence of frames
    covers k-space evenly.
    """
    n_drawn, ky = request.n_drawn, request.ky - request.n_acs
    positions = offset_positions(rng, request.n_frames, n_drawn)
    lines = [without_repeats(frame, ky, max(n_drawn, 1)) for frame in stretched(positions, stretching(ky, n_drawn), ky)]
    return around_centre(flags_of(np.reshape(lines, (request.n_frames, n_drawn)), ky), request)


def cava(rng: Generator, request: MaskRequest) -> Flags:
    """Golden ratio steps from readout to readout, so that the number of readouts per frame can be chosen afterwards.

    See `cava_order`; a frame consists of round(ky / R) readouts.
    """
    return flags_of(cava_order(rng, request), request.ky)


def cava_order(rng: Generator, request: MaskRequest) -> Lines:
    """The ky line of each readout of `cava` in temporal order, ``(frames, lines per frame)``.

    No line repeats within ky / 2 s readouts, and therefore within a frame. Up to this length of a frame, the order does
    not depend on the acceleration, and any sequence of readouts samples k-space with the same density.
    """
    n_lines = request.n_lines
    window = max(n_lines, int(request.ky / (2 * CENTRE_DENSITY)))
    steps = uniform_numbers(rng, 1) + GOLDEN_RATIO * np.arange(request.n_frames * n_lines)
    exact = stretched(2 * (steps % 1) - 1, stretching(request.ky, window), request.ky)
    return without_repeats(exact, request.ky, window).reshape(request.n_frames, n_lines)


def offset_positions(rng: Generator, n_frames: int, n_lines: int) -> Numbers:
    """Positions of equal distance in [-1, 1), shifted by the golden ratio from frame to frame, ``(frames, lines)``."""
    offset = (uniform_numbers(rng, 1) + GOLDEN_RATIO * np.arange(n_frames)) % 1
    positions: Numbers = 2 * (np.arange(n_lines) + offset[:, None]) / max(n_lines, 1) - 1
    return positions


def stretching(ky: int, n_lines: int) -> float:
    """The weight of v^3, 1 - 1 / s; smaller if `n_lines` of `ky` would be less than a line apart in the centre."""
    return max(min(1 - 1 / CENTRE_DENSITY, 1 - n_lines / ky), 0.0) if ky else 0.0


def stretched(v: Numbers, weight: float, ky: int) -> Numbers:
    """Integer lines for positions in [-1, 1), where the centre is denser by a factor of 1 / (1 - weight)."""
    lines: Numbers = np.floor((((1 - weight) + weight * v**2) * v + 1) / 2 * ky)
    return lines


def without_repeats(lines: Numbers, ky: int, window: int) -> Lines:
    """Readouts in temporal order, ``(readouts,)``, in which no line repeats within `window` readouts.

    A repeated line is moved to the nearest free line; of two equally near lines, to the one closer to the centre of
    k-space, or else to the lower one.
    """
    last = np.full(ky, -window)
    acquired = np.empty(len(lines), dtype=np.int64)
    for readout, nominal in enumerate(lines.clip(0, ky - 1).astype(int)):
        line = nominal
        if readout - last[nominal] < window:
            free = np.flatnonzero(readout - last >= window)
            line = free[np.lexsort((np.abs(2 * free + 1 - ky), np.abs(free - nominal)))[0]]
        last[line], acquired[readout] = readout, line
    return acquired


def flags_of(lines: Lines, ky: int) -> Flags:
    """Line numbers ``(frames, lines)`` as flags ``(frames, ky)``."""
    mask = np.zeros((len(lines), ky), dtype=bool)
    np.put_along_axis(mask, lines, True, axis=1)
    return mask
