"""Direction, sign and gain of the central readouts, determined from their samples rather than from the header.

Near the centre of k-space, the magnitudes of adjacent lines along x are nearly equal. A readout that was acquired
backwards but is not flagged as reversed is mirrored. The signs of adjacent samples are nearly equal if the image is in
the middle of the field of view. If they alternate, because of RF phase cycling or a transform without a shift, the
image is at its edges.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.checks.central import MAX_DISTANCE, PATCH_DISTANCE, CentralReadouts, Samples
from cinerecon.axes import centre_slice, mirrored_indices
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index

MIN_MIRRORED = 2
"""Smallest number of readouts that are reported as mirrored."""
CORRELATION_DIFFERENCE = 0.03
"""Smallest difference between the correlations with and without mirroring that determines the direction; 0.05 to 0.5 in
scans."""
MIN_COILS = 3
"""Smallest number of coils for which images along x differ clearly from their mirror images."""
MIN_COLUMNS = 24
"""Smallest number of columns for which they do; with 12, adjacent lines of intact scans resemble mirrored ones."""
MIN_BALANCE = 0.6
"""Smallest ratio between the mean differences of the two directions; it is small for readouts that resemble their own
mirror image."""
ALTERNATING = (
    "RF phase cycling or a shift was not corrected, and the image is shifted to the edges of the field of view"
)
SMALLEST_CORRELATION = 0.2
"""Correlation of adjacent samples of a readout (absolute value) below which the samples are mostly noise."""
MAX_ENERGY_OUTSIDE = 0.4
"""Fraction of the energy outside the field of view above which the image is cut off; arms contribute less."""
MAX_ENERGY_OUTSIDE_ARRAY, MIN_SIGNAL = 0.2, 0.3
"""The same for arrays, whose oversampling the user gives: at most 0.03 in intact simulated arrays, mostly 0.2 to 0.7 if
there is no oversampling; and smallest fraction of the energy that is not noise, for noise to be subtracted."""
MAX_ENERGY_BEYOND, EMPTY_BEYOND = 0.1, 0.02
"""Fraction of the energy outside the field of view along x above which another axis may be the oversampled one, and
largest such fraction along that other axis."""
LOUD_COIL_RATIO = 50.0
"""Amplitude ratio between the loudest coil and the median above which gains differ; coils near the heart reach 10."""
PROFILE_DISTANCE = 4
"""Largest distance from the centre of k-space of the lines that are used for the image profile along y."""
N_PROFILE = 64
"""Number of points of the profile along y."""
MIN_MIDDLE_ALONG_Y, MIN_MIDDLE_ALONG_X = 0.4, 0.12
"""Ratios of the energy in the middle of the field of view to that at its edges, below which the image may be at the
edges. Along y, hearts have at least 0.6; shifted by half a field of view, 7 of 10 have less than 0.4, as do 4 % of the
phantoms, which fill the field of view, without a shift. Along x, images have at least 0.17; images with air at both
ends have less than 0.1 after such a shift."""
OPPOSITE_SIGNS_ALONG_X, OPPOSITE_SIGNS_ALONG_Y = -0.6, -0.65
"""Correlations of adjacent samples and lines below which their signs alternate; images that fill the field of view have
-0.4, and phantoms with a small field of view or few frames -0.51 along x and -0.57 along y."""


def require_complex(has_real: bool, has_imaginary: bool, where: str) -> None:
    """Refuse real samples. Receiver samples are complex, and a real k-space would add the image to its mirror image.

    Raises
    ------
    DataError
        If no sample has an imaginary part although some have a real part.
    """
    if has_real and not has_imaginary:
        hint = "store the real and imaginary parts of the samples, not their magnitude or real part"
        raise DataError("no sample has an imaginary part, but k-space is complex", where=where, hint=hint)


def backward_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning about readouts that run opposite to the others."""
    lines = central.with_signal(central.first)
    backward = find_backward(lines.samples)
    if not backward.size:
        return
    text = (
        f"{len(backward)} of {len(lines.samples)} central readouts seem to be in reverse order compared with the others"
    )
    if central.rows is None or central.is_reversed is None:
        yield f"{text}: if so, do not trust the image"
    else:
        index = lines.indices[backward]
        yield (
            f"{text}, such as acquisition {central.rows[index[0]]}; {int(central.is_reversed[index].sum())} have "
            "flag 22 (reverse): if the flags are wrong, lines are mirrored; do not trust the image"
        )


def find_backward(samples: Samples) -> Index:
    """Indices of the readouts that appear to run opposite to the majority; empty if there are few coils or columns.

    Parameters
    ----------
    samples
        ``(readouts, coils, kx)`` samples of readouts near the centre of k-space.
    """
    if (
        samples.shape[1] < MIN_COILS
        or samples.shape[-1] < MIN_COLUMNS
        or len(samples) < 2 * MIN_MIRRORED
        or abs(_correlation_along_x(samples)) <= SMALLEST_CORRELATION
    ):
        return np.empty(0, np.intp)
    image = np.abs(_along_x(samples))
    mirrored = image[..., mirrored_indices(image.shape[-1])]
    reference = image[int(np.linalg.norm(image, axis=(1, 2)).argmax())]
    difference = _correlation(mirrored, reference) - _correlation(image, reference)
    groups = [np.flatnonzero(difference > CORRELATION_DIFFERENCE), np.flatnonzero(difference < -CORRELATION_DIFFERENCE)]
    fewer = min(groups, key=len)
    if len(fewer) < MIN_MIRRORED:
        return fewer[:0]
    means = [float(np.abs(difference[group]).mean()) for group in groups]
    return fewer if min(means) >= MIN_BALANCE * max(means) else fewer[:0]


def _correlation(images: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation of magnitudes ``(readouts, coils, x)`` with a reference readout, ``(readouts,)``."""
    norms = np.linalg.norm(images, axis=(1, 2)) * np.linalg.norm(reference)
    return np.asarray((images * reference).sum((1, 2)) / np.where(norms > 0, norms, 1.0))


def cut_off_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning if a large part of the energy is outside the columns of the image."""
    power = _profile_along_x(central.first.samples)
    total = float(power.sum())
    outside = 1 - float(power[centre_slice(len(power), central.n_columns)].sum()) / total if total else 0.0
    if outside > MAX_ENERGY_OUTSIDE:
        yield (
            f"{outside:.0%} of the signal is outside the field of view of the image along x and is cut off; --set "
            "preprocessing.remove_oversampling=false keeps it"
        )
    elif central.rows is None and outside > MAX_ENERGY_BEYOND and _energy_beyond_along_y(central) < EMPTY_BEYOND:
        yield (
            f"{outside:.0%} of the signal is outside the field of view of the image along x and is cut off, while this "
            "part is empty along y: does the readout, with its oversampling, run along the axis that is named ky?"
        )
    elif central.rows is None and _signal_outside(central, power) > MAX_ENERGY_OUTSIDE_ARRAY:
        yield (
            f"{outside:.0%} of the signal is outside the field of view of the image along x and is cut off: does the "
            "array contain readout oversampling? if not, give an oversampling of 1"
        )


def _signal_outside(central: CentralReadouts, power: NDArray[np.float64]) -> float:
    """Fraction of the energy outside the columns of the image after subtraction of noise; 0 if it is mostly noise."""
    noise = float(central.noise_power.sum()) * len(central.first.samples)
    inside = power[centre_slice(len(power), central.n_columns)] - noise
    total = float(power.sum()) - noise * len(power)
    return 1 - float(inside.sum()) / total if total > MIN_SIGNAL * float(power.sum()) else 0.0


def _energy_beyond_along_y(central: CentralReadouts) -> float:
    """Fraction of the energy along y outside the part kept along x; 1 if a line near the centre is missing."""
    _, samples, _, ky = central.around
    lines = {int(line): samples[ky == line].mean(0) for line in np.unique(ky)}
    profile = _profile_along_y(lines, PATCH_DISTANCE, PATCH_DISTANCE)
    n_columns = round(N_PROFILE * central.n_columns / samples.shape[-1])
    if profile is None or not profile.any():
        return 1.0
    return 1 - float(profile[centre_slice(N_PROFILE, n_columns)].sum() / profile.sum())


def loud_coil_warnings(central: CentralReadouts) -> Iterator[str]:
    """A warning if a coil has much more signal than the others, as for a wrong gain."""
    amplitude = np.linalg.norm(central.first.samples, axis=(0, 2))
    usual, loudest = float(np.median(amplitude)), int(amplitude.argmax())
    if len(amplitude) > 2 and amplitude[loudest] > LOUD_COIL_RATIO * usual > 0:
        coil = central.coils[loudest]
        yield (
            f"coil {coil} has {amplitude[loudest] / usual:.3g} times the amplitude of the others and dominates the "
            f"image{central.exclusion(central.coils[[loudest]])}"
        )


def _along_x(samples: Samples) -> Samples:
    """Readouts ``(readouts, coils, kx)`` transformed to the image along x."""
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(samples, axes=-1), axis=-1), axes=-1)


def sign_warnings(central: CentralReadouts) -> Iterator[str]:
    """Warnings if the signs alternate from sample to sample or from line to line."""
    _, samples, _, ky = central.around
    lines = {int(line): samples[ky == line].mean(0) for line in np.unique(ky[np.abs(ky) <= PROFILE_DISTANCE])}
    if _correlation_along_x(samples[np.abs(ky) <= MAX_DISTANCE]) < OPPOSITE_SIGNS_ALONG_X:
        yield f"the sign of the samples alternates along the readouts: {ALTERNATING} along x"
    elif _middle_over_edges(_profile_along_x(samples[np.abs(ky) <= MAX_DISTANCE])) < MIN_MIDDLE_ALONG_X:
        yield _at_edges("x")
    if _correlation_along_y(lines) < OPPOSITE_SIGNS_ALONG_Y:
        yield f"the sign of the lines alternates: {ALTERNATING} along y"
    elif _middle_over_edges(_profile_along_y(lines, PROFILE_DISTANCE, 2)) < MIN_MIDDLE_ALONG_Y:
        yield _at_edges("y")


def _at_edges(axis: str) -> str:
    return (
        f"there is more signal at the edges of the field of view along {axis} than in its middle: either the object "
        "fills the field of view, or "
        f"{ALTERNATING} along {axis}"
    )


def _correlation_along_x(samples: Samples) -> float:
    """Real part of the correlation of adjacent samples of a readout."""
    energy = float((np.abs(samples) ** 2).sum())
    return float((samples[..., 1:] * samples[..., :-1].conj()).real.sum()) / energy if energy else 0.0


def _correlation_along_y(lines: dict[int, Samples]) -> float:
    """Real part of the correlation of adjacent central lines ``(coils, kx)``; 0 if there are no such lines."""
    pairs = [
        (lines[line], lines[line + 1]) for line in range(-MAX_DISTANCE, MAX_DISTANCE) if {line, line + 1} <= {*lines}
    ]
    norms = sum(float(np.linalg.norm(first) * np.linalg.norm(second)) for first, second in pairs)
    return sum(float(np.vdot(first, second).real) for first, second in pairs) / norms if norms else 0.0


def _profile_along_x(samples: Samples) -> NDArray[np.float64]:
    """Power of the image of readouts ``(readouts, coils, kx)`` along x, ``(kx,)``."""
    return np.asarray((np.abs(_along_x(samples)) ** 2).sum((0, 1)))


def _profile_along_y(lines: dict[int, Samples], reach: int, required: int) -> NDArray[np.float64] | None:
    """Power of the image along y at `N_PROFILE` points, smoothed by a window over the lines up to ``reach``.

    Returns None if a line up to ``required`` is missing.
    """
    if not set(range(-required, required + 1)) <= {*lines}:
        return None
    n, window = N_PROFILE, np.hanning(2 * reach + 3)[1:-1]
    kspace = np.zeros((n, *lines[0].shape), np.complex128)
    for line, values in lines.items():
        kspace[line % n] = window[line + reach] * values
    return np.asarray(np.fft.fftshift((np.abs(np.fft.ifft(kspace, axis=0)) ** 2).sum((1, 2))))


def _middle_over_edges(profile: NDArray[np.float64] | None) -> float:
    """Energy ratio of the middle eighth of the field of view to the two sixteenths at its edges; may be infinite."""
    if profile is None:
        return np.inf
    n = len(profile)
    edges = float(np.concatenate([profile[: n // 16], profile[n - n // 16 :]]).sum())
    return float(profile[centre_slice(n, n // 8)].sum()) / edges if edges else np.inf
