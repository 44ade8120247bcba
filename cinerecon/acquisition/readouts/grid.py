"""The encoded grid, its centre, and the image within it.

Three grids are involved: the measured grid (smaller than the encoded one if the echo is asymmetric or the phase
resolution is below 100 %), the encoded grid (twice the field of view along the readout, and slightly more than the
field of view along the phase-encoding direction), and the image grid. The image keeps the measured resolution. The
interpolated matrix of a scanner adds no measured information, so all sizes are derived from the fields of view.

The readout oversampling is the ratio of the encoded field of view to that of the image, never the ratio of the
matrices, which interpolation changes. Some programs write a factor of 2 regardless of the acquisition, which makes
square pixels anisotropic. Since a low phase resolution also gives anisotropic pixels, the factor is corrected only if
it is implausible (pixels twice as long along the readout) or if the readouts show no signal outside the smaller field
of view.

The centre of k-space is taken from the header and compared with the line with the most signal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.readouts.subset import Probe, Readouts, Warn, stronger_line
from cinerecon.errors import ConfigError, DataError, HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace

LARGEST_CENTRE_ERROR = 1 / 8
"""Largest distance between the centres in header and data, as a fraction of the rows. Above it, coil maps would be
estimated from outer lines, and the image from half of k-space."""

LARGEST_INTERPOLATION = 4
"""Largest interpolation factor of the matrix; a larger factor indicates that the header belongs to another scan."""
SQUARE_TOLERANCE, UNEVEN_RATIO = 0.02, 1.2
"""Largest relative difference between the sides of square pixels, and smallest aspect ratio of anisotropic pixels."""
SMALLEST_PHASE_OVERSAMPLING = 1.1
"""Smallest ratio of the matrix sizes along y that indicates phase oversampling."""
LARGEST_ANISOTROPY, EXCHANGE_TOLERANCE = 3.0, 0.1
"""Largest aspect ratio of a pixel, and largest deviation of the aspect ratio from 1 for square pixels after an exchange
of the axes."""
LARGEST_OVERSAMPLING = 8.5
"""Ratio of the encoded to the image field of view above which the header is wrong."""
MOST_BEYOND = 0.04
"""Largest fraction of the energy in the part of an oversampled readout that is cropped; it may contain the arms."""
N_OVERSAMPLING_PROBES = 16
"""Number of readouts next to the centre of k-space that are examined."""


@dataclass(frozen=True)
class Grid:
    """The encoded grid and the image within it.

    Attributes
    ----------
    ky, kx
        Size of the encoded grid, whose centre is at index n // 2.
    first_row
        Row of line 0, i.e. ky // 2 minus the line at the centre of k-space.
    y, x
        Size of the image for the prescribed field of view.
    pixel_size_mm
        Distance between adjacent pixels along (y, x) [mm].
    """

    ky: int
    kx: int
    first_row: int
    y: int
    x: int
    pixel_size_mm: tuple[float, float]


def plan_grid(image: Readouts, probe: Probe, config: AcquisitionConfig) -> Grid:
    """Determine the grid from the fields of view in the header and the lines of the data.

    Raises
    ------
    HeaderError
        If the header contradicts itself, or its centre of k-space is far from the signal.
    DataError
        If a line is outside the grid.
    ConfigError
        If the requested centre is not a line of the scan.
    """
    encoding = image.encoding
    centre = _centre_line(image, probe, config.ky_centre)
    ky, first_row = _phase_encode(image, centre, is_given=config.ky_centre is not None)
    _require_axes_in_order(encoding, ky, image.path)
    kx, fov_y = encoding.encoded.matrix[0], _field_of_view_y(encoding, ky, image.warn)
    ratio = readout_oversampling(image, ky)
    x = max(round(kx / ratio), 1) if config.remove_oversampling else kx
    y = round(ky * encoding.recon.fov_mm[1] / fov_y)
    if y > ky:
        if encoding.recon.fov_mm[1] > 1.01 * fov_y:
            image.warn(f"the image's field of view along y exceeds the encoded one, {fov_y:g} mm, and is reduced to it")
        y = ky
    pixel_size_mm = (fov_y / ky, ratio * encoding.recon.fov_mm[0] / kx)
    return Grid(ky=ky, kx=kx, first_row=first_row, y=max(y, 1), x=x, pixel_size_mm=pixel_size_mm)


def _field_of_view_y(encoding: EncodingSpace, ky: int, warn: Warn) -> float:
    """Encoded field of view along y [mm], enlarged if only the matrix includes the phase oversampling."""
    fov, recon_fov = encoding.encoded.fov_mm[1], encoding.recon.fov_mm[1]
    by_matrix = encoding.encoded.matrix[1] / encoding.recon.matrix[1]
    is_square = abs(anisotropy(encoding, ky) / by_matrix - 1) < SQUARE_TOLERANCE
    if abs(fov / recon_fov - 1) > 0.01 or by_matrix < SMALLEST_PHASE_OVERSAMPLING or not is_square:
        return fov
    warn(
        f"the encoded field of view along y is that of the image, {fov:g} mm, but the matrix is {by_matrix:.3g} "
        f"times as large, and pixels are square if this is phase oversampling: {fov * by_matrix:.4g} mm is used"
    )
    return fov * by_matrix


def _require_axes_in_order(encoding: EncodingSpace, ky: int, path: str) -> None:
    """Refuse fields of view whose x and y are exchanged; x must be the readout direction."""
    (kx, _, _), (fov_x, fov_y, _) = encoding.encoded.matrix, encoding.encoded.fov_mm
    recon_x, recon_y, _ = encoding.recon.fov_mm
    ratio, exchanged = anisotropy(encoding, ky), (fov_y / kx) / (fov_x / ky)
    hint = "x is the readout: exchange x and y of fieldOfView_mm"
    if abs(np.log(ratio)) > np.log(LARGEST_ANISOTROPY) and abs(exchanged - 1) < EXCHANGE_TOLERANCE:
        what = (
            f"pixels are {fov_x / kx:.3g} mm long along x and {fov_y / ky:.3g} mm along y according to the header, but "
            "square if x and y of the fields of view are exchanged"
        )
        raise HeaderError(what, where=path, hint=hint)
    is_as_written = _is_whole(fov_x / recon_x) and recon_y <= 1.01 * fov_y
    if not is_as_written and _is_whole(fov_x / recon_y) and 0.5 * fov_y <= recon_x <= 1.01 * fov_y:
        what = (
            f"the encoded field of view is {fov_x:g} x {fov_y:g} mm, the image's {recon_x:g} x {recon_y:g} mm: x and y "
            "are exchanged in one of them"
        )
        raise HeaderError(what, where=path, hint=hint)


def _is_whole(oversampling: float) -> bool:
    return round(oversampling) >= 1 and abs(oversampling - round(oversampling)) < 0.01 * oversampling


def _centre_line(image: Readouts, probe: Probe, requested: int | None) -> int:
    """The line at the centre of k-space: the requested line, or that of the header unless the data contradict it."""
    largest = int(image.lines.max())
    if requested is not None:
        if requested > largest:
            what = f"the requested centre of k-space is line {requested}, the scan has lines up to {largest}"
            raise ConfigError(what, where="--set preprocessing.ky_centre")
        return requested
    limit, ky = image.encoding.line_limit, image.encoding.encoded.matrix[1]
    if limit is None or limit.centre is None:
        centre, source = ky // 2, "the header does not contain the centre of k-space, which would be line"
    else:
        centre, source = limit.centre, "the header puts the centre of k-space at line"
        if not limit.minimum <= centre <= limit.maximum:
            what = f"kspace_encoding_step_1 centre is {centre}, outside {limit.minimum}..{limit.maximum}"
            hint = "correct the encoding limits in the header, or set the line with --set preprocessing.ky_centre=..."
            raise HeaderError(what, where=image.path, hint=hint)
    if largest > max(ky, 0 if limit is None else limit.maximum):
        return centre  # a damaged line number, reported later with its readout
    strongest = stronger_line(probe, centre)
    if strongest is not None:
        what = f"{source} {centre}; the signal maximum is at line {strongest}"
        if abs(strongest - centre) > LARGEST_CENTRE_ERROR * (largest + 1):
            option = "--set preprocessing.ky_centre"
            hint = f"{option}={strongest} follows the data, {option}={centre} the header"
            if len(probe.lines) == ky and min(strongest, ky - strongest) <= 1:
                hint = "the lines are in FFT order: number them with the centre of k-space in the middle"
            raise HeaderError(what, where=image.path, hint=hint)
        image.warn(f"{what}: --set preprocessing.ky_centre={strongest} would correct it")
    return centre


def _phase_encode(image: Readouts, centre: int, *, is_given: bool) -> tuple[int, int]:
    """Rows of the encoded grid, and row of line 0, for a centre from the header or given by the user."""
    limit, lines = image.encoding.line_limit, image.lines
    ky = _encoded_rows(image, centre)
    rows = ky // 2 - centre + lines
    outside = np.flatnonzero((rows < 0) | (rows >= ky))
    if outside.size == 0:
        if limit is not None and lines.max() > limit.maximum:
            image.warn(
                f"lines count to {lines.max()}, beyond the header's limit {limit.maximum}, but fit the encoded matrix"
            )
        return ky, ky // 2 - centre
    filled = int(lines.min()) + ky // 2
    if not is_given and lines.max() - lines.min() + 1 == ky and abs(filled - centre) <= LARGEST_CENTRE_ERROR * ky:
        image.warn(
            f"the header puts the centre of k-space at line {centre}; lines {lines.min()} to {lines.max()} fill "
            f"encodedSpace y, so that {filled} is taken"
        )
        return ky, ky // 2 - filled
    largest = ky - 1 if limit is None else limit.maximum
    beyond = np.flatnonzero(lines > largest)
    if limit is None or beyond.size:
        i = (beyond if beyond.size else outside)[0]
        what = f"acquisition {image.rows[i]} has kspace_encode_step_1 = {lines[i]}, limit {largest}"
        hint = "the counter is corrupted, or the header belongs to another scan"
        raise DataError(what, where=image.at(i), hint=hint)
    half = max(centre, int(lines.max()) + 1 - centre)
    _require_rows(image, 2 * half)
    image.warn(f"lines reach beyond encodedSpace y ({ky}), phase resolution above 100 %: placed on {2 * half} rows")
    return 2 * half, half - centre


def _encoded_rows(image: Readouts, centre: int) -> int:
    """Rows of the grid according to the header, without interpolation by the scanner."""
    ky, measured = image.encoding.encoded.matrix[1], _measured_rows(image.encoding, image.lines, centre)
    if measured < ky:
        correction = f"halved to {measured}" if measured == ky // 2 else f"reduced to {measured}"
        kind = "doubled" if measured == ky // 2 else "enlarged"
        image.warn(f"encodedSpace y ({ky}) is {kind} by interpolation while its field of view is not: {correction}")
        ky = measured
    _require_rows(image, ky)
    return ky


def _require_rows(image: Readouts, ky: int) -> None:
    """Refuse a matrix if the measured lines fill only a small part of it."""
    largest = int(image.lines.max())
    if ky > max(4 * (largest + 1), 64):
        what = f"the header places lines on {ky} rows, the data only have lines up to {largest}"
        raise HeaderError(what, where=image.path, hint="the matrix in the header is not that of this scan")


def _measured_rows(encoding: EncodingSpace, lines: NDArray[np.int64], centre: int) -> int:
    """Rows of the grid without interpolation by the scanner along y; those of the header if there is no interpolation.

    Free.Max scanners double encodedSpace y for the interpolation, but not its field of view. Pixels then appear half as
    long along y as along x, while the lines fill at most half of the rows. Other factors are recognised if the rows
    covered by the lines make the pixels square.
    """
    ky = encoding.encoded.matrix[1]
    half = ky // 2
    placed = half // 2 - centre + lines
    if round(anisotropy(encoding, ky)) == 2 and placed.min() >= 0 and placed.max() < half:
        return half
    reached = 2 * int(max(centre - lines.min(), lines.max() + 1 - centre))
    is_square = abs(anisotropy(encoding, reached) - 1) < SQUARE_TOLERANCE
    is_interpolated = (
        is_square and anisotropy(encoding, ky) > UNEVEN_RATIO and reached < ky <= LARGEST_INTERPOLATION * reached
    )
    return reached if is_interpolated else ky


def anisotropy(encoding: EncodingSpace, ky: int) -> float:
    """Ratio of the lengths of the encoded pixels along x and y, for ``ky`` rows."""
    (kx, _, _), (fov_x, fov_y, _) = encoding.encoded.matrix, encoding.encoded.fov_mm
    return (fov_x / kx) / (fov_y / ky)


def readout_oversampling(image: Readouts, ky: int) -> float:
    """Ratio of the encoded to the image field of view along the readout.

    Raises
    ------
    HeaderError
        If the image field of view is larger than the encoded one, or implausibly small.
    """
    encoding = image.encoding
    fov, recon_fov = encoding.encoded.fov_mm[0], encoding.recon.fov_mm[0]
    claimed = fov / recon_fov
    if not 0.99 <= claimed <= LARGEST_OVERSAMPLING:
        what = (
            f"the encoded field of view is {fov:g} mm along x, the image's {recon_fov:g} mm: a readout oversampling of "
        )
        raise HeaderError(f"{what}{claimed:.3g} is not valid, expected 1, 2, ...", where=image.path)
    square = claimed / anisotropy(encoding, ky)
    by_matrix = encoding.encoded.matrix[0] / encoding.recon.matrix[0]
    if claimed < 1.01 and round(by_matrix) > 1 and abs(square - by_matrix) < 0.01 * by_matrix:
        image.warn(
            f"the encoded field of view is not larger than the image's, but the matrix is {by_matrix:.3g} times "
            "as long, and pixels are square with this oversampling: it is used"
        )
        return by_matrix
    uneven = round(claimed) > 1 and round(square) >= 1 and abs(square / claimed - 1) > 0.2
    if uneven and abs(square - round(square)) < 0.01:
        absurd = square <= claimed / 2 + 0.01
        if absurd or (square > claimed and _is_empty_beyond(image, round(square), claimed)):
            image.warn(
                f"the header claims {claimed:.3g}x readout oversampling, but only {square:.3g}x makes square pixels"
            )
            return float(round(square))
    is_integer = round(square) > 1 and abs(square - round(square)) < 0.01
    if claimed < 1.01 and is_integer and _energy_beyond(image, square) < MOST_BEYOND:
        image.warn(
            f"pixels are {square:.3g} times as long along y as along x, and the outer part of the image is empty "
            "along x: if the readout oversampling is missing in the header, multiply x of fieldOfView_mm in "
            f"encodedSpace by {square:.3g}"
        )
    if abs(claimed - round(claimed)) > 0.01 * claimed:
        image.warn(f"the readout oversampling is {claimed:.3g}, not a whole number")
    return max(claimed, 1.0)


def _is_empty_beyond(image: Readouts, factor: float, claimed: float) -> bool:
    """Whether the stated field of view contains only noise outside the smaller one given by a larger factor."""
    kx = image.encoding.encoded.matrix[0]
    whole = image.where(image.field("number_of_samples") == kx)
    if len(whole) == 0:
        return False
    power = _profile(whole)
    from_centre = np.abs(np.arange(kx) - kx // 2)
    inside = power[from_centre < kx / (2 * factor)].mean()
    between = power[(from_centre > kx / (2 * factor) + 1) & (from_centre < kx / (2 * claimed) - 1)].mean()
    outside = power[from_centre > kx / (2 * claimed) + 1].mean()
    return bool(between < 1.5 * outside + 1e-3 * inside and inside > 10 * between)


def _energy_beyond(image: Readouts, factor: float) -> float:
    """Fraction of the energy outside a field of view that is reduced along x by ``factor``."""
    lengths = image.field("number_of_samples")
    n = int(lengths.max())
    power = _profile(image.where(lengths == n))
    return float(power[np.abs(np.arange(n) - n // 2) > n / (2 * factor)].sum() / max(power.sum(), np.finfo(float).tiny))


def _profile(readouts: Readouts) -> NDArray[np.float64]:
    """Mean power along x of the central readouts with equal length, ``(samples,)``, with its centre at n // 2."""
    readouts = readouts.readable()
    lines = readouts.lines
    centre = np.median(np.unique(lines))
    probes = np.sort(readouts.rows[np.argsort(np.abs(lines - centre), kind="stable")[:N_OVERSAMPLING_PROBES]])
    profile = np.fft.fftshift(np.fft.fft(readouts.raw.samples(probes), axis=-1), axes=-1)
    return np.asarray((np.abs(profile) ** 2).mean((0, 1)))
