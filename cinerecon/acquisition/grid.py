"""Where the readouts are in k-space, and which part of the image is kept.

Three grids meet here: what was measured (shorter than the encoded grid where the echo is asymmetric or the phase
resolution below 100 %), the encoded grid (twice the field of view along the readout, a little more along the phase
encode), and the image the user asked for. The image keeps the measured resolution: a scanner's interpolated matrix says
nothing about the measurement, so sizes follow from the fields of view alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.config import IntakeConfig
from cinerecon.acquisition.kspace_centre import Probe, stronger_line
from cinerecon.acquisition.oversampling import anisotropy, readout_oversampling
from cinerecon.errors import ConfigError, DataError, HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import Index, RawScan

Warn = Callable[[str], None]

FARTHEST = 1 / 8
"""Part of the rows by which the header's centre may miss the data's. Farther off, coil maps would come from the outer
lines, and the image from half of k-space."""

LARGEST_FACTOR = 4
"""Interpolation enlarges a matrix by at most this; beyond it the header belongs to another scan."""
SQUARE, UNEVEN = 0.02, 1.2
"""How far the sides of pixels that count as square may differ, and how much longer one is where they do not."""


@dataclass(frozen=True)
class Grid:
    """The encoded grid and the image within it.

    Attributes
    ----------
    ky, kx
        Points of the encoded grid, its centre at index n // 2.
    first_row
        Row of line 0: ky // 2 minus the line at the centre of k-space.
    y, x
        Size of the image on the field of view asked for.
    pixel_size_mm
        Distance of neighbouring pixels along (y, x) [mm].
    """

    ky: int
    kx: int
    first_row: int
    y: int
    x: int
    pixel_size_mm: tuple[float, float]


def plan_grid(raw: RawScan, image: Index, probe: Probe, config: IntakeConfig, warn: Warn) -> Grid:
    """Find the grid from the header's fields of view and the lines of the data.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of the image readouts.
    probe
        Where the signal is.
    config
        Whether oversampling is removed, and the centre if the user knows it.
    warn
        Called with each thing a user should know.

    Raises
    ------
    HeaderError
        If the header contradicts itself, or its centre of k-space is far from the signal.
    DataError
        If a line is outside the grid.
    ConfigError
        If the centre that was asked for is no line of the scan.
    """
    encoding = raw.header.encodings[0]
    lines = raw.heads["idx"]["kspace_encode_step_1"][image].astype(np.int64)
    centre = _centre_line(raw, encoding, int(lines.max()), probe, config.ky_centre, warn)
    ky, first_row = _phase_encode(raw, image, encoding, lines, centre, warn)
    kx, fov_y = encoding.encoded.matrix[0], encoding.encoded.fov_mm[1]
    ratio = readout_oversampling(raw, image, ky, warn)
    x = max(round(kx / ratio), 1) if config.remove_oversampling else kx
    y = round(ky * encoding.recon.fov_mm[1] / fov_y)
    if y > ky:
        if encoding.recon.fov_mm[1] > 1.01 * fov_y:
            warn(f"the image's field of view along y exceeds the encoded one, {fov_y:g} mm, and is cut to it")
        y = ky
    pixel_size_mm = (fov_y / ky, ratio * encoding.recon.fov_mm[0] / kx)
    return Grid(ky=ky, kx=kx, first_row=first_row, y=max(y, 1), x=x, pixel_size_mm=pixel_size_mm)


def _centre_line(
    raw: RawScan, encoding: EncodingSpace, largest: int, probe: Probe, asked: int | None, warn: Warn
) -> int:
    """The line at the centre of k-space: the one asked for, or the header's, if the data do not contradict it."""
    if asked is not None:
        if asked > largest:
            what = f"the centre of k-space is to be line {asked}, the scan has lines up to {largest}"
            raise ConfigError(what, where="--intake ky_centre")
        return asked
    limit, ky = encoding.limits.get("kspace_encoding_step_1"), encoding.encoded.matrix[1]
    if limit is None or limit.centre is None:
        centre, source = ky // 2, "the header does not give the centre of k-space, which would be line"
    else:
        centre, source = limit.centre, "the header puts the centre of k-space at line"
        if not limit.minimum <= centre <= limit.maximum:
            what = f"kspace_encoding_step_1 centre is {centre}, outside {limit.minimum}..{limit.maximum}"
            hint = "correct the encoding limits in the header, or name the line with --intake ky_centre=..."
            raise HeaderError(what, where=str(raw.path), hint=hint)
    if largest > max(ky, 0 if limit is None else limit.maximum):
        return centre  # a damaged line number, which is reported with its readout
    strongest = stronger_line(probe, centre)
    if strongest is not None:
        what = f"{source} {centre}; the signal has its peak at line {strongest}"
        if abs(strongest - centre) > FARTHEST * (largest + 1):
            hint = f"--intake ky_centre={strongest} believes the data, ky_centre={centre} the header"
            raise HeaderError(what, where=str(raw.path), hint=hint)
        warn(f"{what}: --intake ky_centre={strongest} would correct it")
    return centre


def _phase_encode(
    raw: RawScan, image: Index, encoding: EncodingSpace, lines: NDArray[np.int64], centre: int, warn: Warn
) -> tuple[int, int]:
    """Rows of the encoded grid, and the row of line 0."""
    limit = encoding.limits.get("kspace_encoding_step_1")
    ky = encoding.encoded.matrix[1]
    measured = _measured_rows(encoding, lines, centre)
    if measured < ky:
        made = f"halved to {measured}" if measured == ky // 2 else f"reduced to {measured}"
        kind = "doubled" if measured == ky // 2 else "enlarged"
        warn(f"encodedSpace y ({ky}) is {kind} by interpolation while its field of view is not: {made}")
        ky = measured
    _require_rows(raw, ky, lines)
    first_row = ky // 2 - centre
    rows = first_row + lines
    outside = np.flatnonzero((rows < 0) | (rows >= ky))
    if outside.size == 0:
        if limit is not None and lines.max() > limit.maximum:
            warn(f"lines count to {lines.max()}, beyond the header's limit {limit.maximum}, but fit the encoded matrix")
        return ky, first_row
    beyond = np.flatnonzero(lines > (ky - 1 if limit is None else limit.maximum))
    if limit is None or beyond.size:
        row = image[(beyond if beyond.size else outside)[0]]
        found = raw.heads["idx"]["kspace_encode_step_1"][row]
        what = (
            f"acquisition {row} has kspace_encode_step_1 = {found}, limit {ky - 1 if limit is None else limit.maximum}"
        )
        raise DataError(what, where=raw.at(row), hint="the counter is damaged, or the header belongs to another scan")
    half = max(centre, int(lines.max()) + 1 - centre)
    _require_rows(raw, 2 * half, lines)
    warn(f"lines reach beyond encodedSpace y ({ky}), phase resolution above 100 %: placed on {2 * half} rows")
    return 2 * half, half - centre


def _require_rows(raw: RawScan, ky: int, lines: NDArray[np.int64]) -> None:
    """No grid is made that the lines of the data do not fill to a fair part."""
    if ky > max(4 * (int(lines.max()) + 1), 64):
        what = f"the header places lines on {ky} rows, the data have lines up to {lines.max()} only"
        raise HeaderError(what, where=str(raw.path), hint="the matrix in the header is not that of this scan")


def _measured_rows(encoding: EncodingSpace, lines: NDArray[np.int64], centre: int) -> int:
    """Rows of the grid without the scanner's interpolation along y: those of the header where there is none.

    Free.Max scanners double encodedSpace y with the interpolation, but not its field of view: pixels come out half as
    long along y as along x, while the lines fill no more than half of the rows. Other factors are recognised where the
    rows that the lines reach to make the pixels square.
    """
    ky = encoding.encoded.matrix[1]
    half = ky // 2
    placed = half // 2 - centre + lines
    if round(anisotropy(encoding, ky)) == 2 and placed.min() >= 0 and placed.max() < half:
        return half
    reached = 2 * int(max(centre - lines.min(), lines.max() + 1 - centre))
    is_square = abs(anisotropy(encoding, reached) - 1) < SQUARE
    is_interpolated = is_square and anisotropy(encoding, ky) > UNEVEN and reached < ky <= LARGEST_FACTOR * reached
    return reached if is_interpolated else ky
