"""Correction of the encoded grid and of the line numbers.

The following deviations of files from the ISMRMRD standard are corrected:

- The header describes a grid that was not measured: several partitions for a 2-D scan, a matrix without the readout
  oversampling, or the zero-filled matrix of the image.
- Programs that remove the readout oversampling keep ``center_sample``, the encoded matrix and the encoded field of view
  of the measured readout. The centre is then outside the readout, or the header describes a larger grid than the
  readouts fill.
- Samples that were not measured are stored as zeros at the ends of readouts (asymmetric echoes, zero-filled matrices).
- Line numbers start at 1, as in files written by MATLAB programs, or are counted from the centre.
"""

from dataclasses import replace

import numpy as np

from cinerecon.acquisition.conventions.echo import N_ECHO_PROBES
from cinerecon.acquisition.readouts.grid import LARGEST_INTERPOLATION, anisotropy
from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import NOISE, REVERSE, Index, has_flag

LARGEST_UNDECLARED_OVERSAMPLING = 4
"""Largest ratio of the readout length to a matrix without the readout oversampling."""
MEASURED_PART = 0.9
"""Ratio of the length of symmetric readouts to the matrix size below which the matrix is treated as zero-filled."""
ECHO_PART = 1 / 8
"""Largest distance between echo and middle of a readout, as a fraction of its length, if the middle is the centre."""
ANISOTROPY_MARGIN = 0.1
"""Smallest difference of the logarithms of two pixel anisotropies for one to be clearly closer to a square pixel."""


def correct_encoded_space(readouts: Readouts, zeros: tuple[Index, Index]) -> Readouts:
    """Replace the encoded grid with the grid on which the readouts were measured.

    ``zeros`` are the counts returned by `zero_samples`.

    Raises
    ------
    HeaderError
        If the two axes are exchanged.
    """
    readouts = readouts.with_encoding(_without_empty_partitions(readouts))
    readouts = readouts.with_encoding(_with_oversampling(readouts))
    return readouts.with_encoding(_without_zero_filling(readouts, zeros))


def _with_matrix(encoding: EncodingSpace, x: int, y: int, z: int, fov_x_mm: float | None = None) -> EncodingSpace:
    fov_x, fov_y, fov_z = encoding.encoded.fov_mm
    fov_mm = (fov_x if fov_x_mm is None else fov_x_mm, fov_y, fov_z)
    return replace(encoding, encoded=replace(encoding.encoded, matrix=(x, y, z), fov_mm=fov_mm))


def _without_empty_partitions(readouts: Readouts) -> EncodingSpace:
    """Set encodedSpace z of a 2-D scan to 1 if it is larger, as in files of Pulseq sequences.

    The number of partitions is taken from the limit of the counter or, if it has none, from the image matrix.
    """
    encoding = readouts.encoding
    x, y, z = encoding.encoded.matrix
    limit = encoding.limits.get("kspace_encoding_step_2")
    expected = encoding.recon.matrix[2] if limit is None else limit.n_values
    is_single = np.ptp(readouts.counter("kspace_encode_step_2")) == 0
    if z == 1 or expected > 1 or not is_single:
        return encoding
    readouts.warn(f"encodedSpace z is {z}, the data contain 1 partition: they are read as a 2-D scan")
    return _with_matrix(encoding, x, y, 1)


def _with_oversampling(readouts: Readouts) -> EncodingSpace:
    """Correct a matrix without oversampling if the length of the readouts is a multiple of encodedSpace x.

    An asymmetric echo reaches one edge of the oversampled grid and is truncated on the other side of its centre.

    OpenRecon streams have this deviation: the header contains the base resolution, and the readouts are oversampled.
    The field of view is scaled with the matrix, unless the header contains only that of the oversampled readout.
    """
    encoding = readouts.encoding
    x, y, z = encoding.encoded.matrix
    lengths, centres = readouts.field("number_of_samples"), readouts.field("center_sample")
    n_samples, centre = int(lengths[0]), int(centres[0])
    is_common = bool((lengths == n_samples).all() and (centres == centre).all())
    factor = -(-n_samples // x)
    half = factor * x // 2
    is_whole = n_samples == factor * x and (centre == 0 or abs(centre - half) <= 1)
    is_asymmetric = n_samples < factor * x and half in (centre, n_samples - centre)
    if not (is_common and 1 < factor <= LARGEST_UNDECLARED_OVERSAMPLING and (is_whole or is_asymmetric)):
        return encoding
    if n_samples == y and _span(readouts) <= x:
        what = f"encodedSpace is {x} x {y}, the readouts hold {n_samples} samples: x and y are exchanged in the header"
        raise HeaderError(what, where=readouts.path, hint="x is the readout: exchange matrixSize and fieldOfView_mm")
    fov_mm, recon_fov_mm = encoding.encoded.fov_mm[0], encoding.recon.fov_mm[0]
    if abs(fov_mm / recon_fov_mm - 1) < 0.01:
        fov_mm *= factor
    elif abs(fov_mm / recon_fov_mm / factor - 1) > 0.01:
        return encoding
    readouts.warn(
        f"encodedSpace x is {x}, the readouts hold {n_samples} samples around their centre: read as {factor}x "
        "oversampling that is missing in the header"
    )
    return _with_matrix(encoding, factor * x, y, z, fov_mm)


def _without_zero_filling(readouts: Readouts, zeros: tuple[Index, Index]) -> EncodingSpace:
    """Correct a zero-filled matrix, whose edges the readouts do not reach; the image keeps the measured resolution.

    An asymmetric echo reaches one edge of the matrix. The number of rows is reduced along with the number of columns if
    the lines fit and the pixels do not become more anisotropic.
    """
    encoding = readouts.encoding
    x, y, z = encoding.encoded.matrix
    n_samples, centre = (readouts.field(name).astype(int) for name in ("number_of_samples", "center_sample"))
    measured = 2 * int(np.maximum(centre - zeros[0], n_samples - zeros[1] - centre).max())
    if (centre == 0).any() or not x / LARGEST_INTERPOLATION <= measured < MEASURED_PART * x:
        return encoding
    rows = round(y * measured / x)
    reduced = _with_matrix(encoding, measured, y, z)
    uneven = [abs(np.log(anisotropy(reduced, n))) for n in (rows, y)]
    rows = rows if _span(readouts) <= rows and uneven[0] <= uneven[1] + 1e-3 else y
    n_nonzero = int((n_samples - sum(zeros)).max())
    readouts.warn(
        f"encodedSpace is zero-filled, {x} x {y}: the readouts hold {n_nonzero} samples around their centre, "
        f"so {measured} x {rows} is used, and the image keeps the measured resolution"
    )
    return _with_matrix(encoding, measured, rows, z)


def _span(readouts: Readouts) -> int:
    """Number of rows from the first to the last line."""
    return int(np.ptp(readouts.lines)) + 1


def correct_removed_oversampling(readouts: Readouts) -> Readouts:
    """Correct centre and grid of the readouts if the header describes them before the removal of the oversampling."""
    warn, encoding = readouts.warn, readouts.encoding
    lengths, centres = (readouts.field(name).astype(int) for name in ("number_of_samples", "center_sample"))
    n, centre = int(lengths[0]), int(centres[0])
    if not ((lengths == n).all() and (centres == centre).all()) or n < 2:
        return readouts
    factors = range(2, LARGEST_UNDECLARED_OVERSAMPLING + 1)
    factor, rest = divmod(encoding.encoded.matrix[0], n)
    is_part = rest == 0 and factor in factors
    is_old_centre = any(centre == factor * n // 2 for factor in factors) and _has_echo_in_the_middle(readouts)
    if is_old_centre:
        warn(
            f"center_sample is {centre}, the value for readouts before removal of oversampling: {n // 2} of {n} is used"
        )
    elif is_part and (centre == 0 or abs(centre - n // 2) == 1) and _has_echo_in_the_middle(readouts):
        warn(f"center_sample is {centre}, the echo is in the middle of the readouts: {n // 2} of {n} is used")
    elif centre != n // 2:
        return readouts
    readouts.raw.heads["center_sample"][readouts.rows] = n // 2
    if not is_part or not _is_removed(readouts, n, factor, is_proven=is_old_centre):
        return readouts
    x, y, z = encoding.encoded.matrix
    fov_x, fov_y, fov_z = encoding.encoded.fov_mm
    warn(
        f"encodedSpace x is {x} for {fov_x:g} mm, the readouts hold {n} samples: read as {factor}x "
        "oversampling that was removed"
    )
    encoded = replace(encoding.encoded, matrix=(n, y, z), fov_mm=(encoding.recon.fov_mm[0], fov_y, fov_z))
    return readouts.with_encoding(replace(encoding, encoded=encoded))


def _is_removed(readouts: Readouts, n: int, factor: int, *, is_proven: bool) -> bool:
    """Whether readouts are shorter than the matrix because oversampling, not resolution, was removed.

    The oversampling must agree with the header, and the pixels must be closer to squares than if the readouts were in
    the middle of the matrix. Both interpretations may reduce the number of rows along with the columns if the lines
    fit.
    """
    encoding = readouts.encoding
    fov_x, fov_y, _ = encoding.encoded.fov_mm
    if abs(fov_x / encoding.recon.fov_mm[0] / factor - 1) > 0.01:
        return False
    if is_proven:
        return True
    y = encoding.encoded.matrix[1]
    rows = round(y / factor)
    span = int(np.ptp(readouts.lines)) + 1
    filled = abs(np.log((fov_x / n) / (fov_y / (rows if span <= rows else y))))
    return bool(abs(np.log(anisotropy(encoding, y))) < filled - ANISOTROPY_MARGIN)


def _has_echo_in_the_middle(readouts: Readouts) -> bool:
    """Whether the echo is in the middle of the readouts with the strongest signal."""
    raw, rows = readouts.raw, readouts.readable().rows
    strongest = np.sort(rows[np.argsort(raw.amplitude[rows], kind="stable")[-N_ECHO_PROBES:]])
    power = (np.abs(raw.samples(strongest).astype(np.complex128)) ** 2).sum((0, 1))
    return bool(abs(int(power.argmax()) - len(power) // 2) <= max(ECHO_PART * len(power), 1))


N_ZERO_PROBES = 64
"""Number of readouts of each type that are examined."""


def zero_samples(readouts: Readouts) -> tuple[Index, Index]:
    """Count the zero samples at the start and at the end of the readouts, both ``(readouts,)``.

    Only samples that are zero in all readouts of the same length are counted.
    """
    before, after = np.zeros(len(readouts), np.intp), np.zeros(len(readouts), np.intp)
    is_reverse = readouts.has_flag(REVERSE)
    for direction in (~is_reverse, is_reverse):
        for is_alike, alike in readouts.where(direction).groups("number_of_samples", "active_channels"):
            examined = alike.readable().rows
            probes = readouts.raw.samples(examined[:: -(-len(examined) // N_ZERO_PROBES)])
            nonzero = np.flatnonzero((probes != 0).any((0, 1)))
            if nonzero.size:
                own = np.flatnonzero(direction)[is_alike]
                before[own], after[own] = nonzero[0], probes.shape[-1] - 1 - nonzero[-1]
    return before, after


def discard_zero_samples(readouts: Readouts, zeros: tuple[Index, Index]) -> None:
    """Mark zero samples at the ends of the readouts as discarded, in the header fields of the standard."""
    added = 0
    for name, n in zip(("discard_pre", "discard_post"), zeros, strict=True):
        discarded = readouts.field(name)
        added = max(added, int((n - discarded.astype(np.intp)).max()))
        readouts.raw.heads[name][readouts.rows] = np.maximum(discarded, n)
    if added > 0:
        what = f"up to {added} samples at the ends of the readouts contain only zeros"
        readouts.warn(f"{what}: they are treated as not measured")


def count_lines_from_zero(readouts: Readouts) -> None:
    """Renumber lines from 0 if they are counted from 1 and exceed limit or grid by one, or counted from the centre."""
    _count_from_edge(readouts)
    encoding, lines = readouts.encoding, readouts.lines
    first, last, rows, limit = int(lines.min()), int(lines.max()), encoding.encoded.matrix[1], encoding.line_limit
    if first < 1:
        return
    centre = encoding.centre_line
    ends_beyond_limit = limit is not None and limit.minimum == 0 and last == limit.maximum + 1
    ends_beyond_matrix = rows // 2 - centre + last == rows
    if not (ends_beyond_limit or ends_beyond_matrix):
        return
    heads = readouts.raw.heads
    numbers = heads["idx"]["kspace_encode_step_1"]
    numbers[~has_flag(heads, NOISE) & (numbers > 0)] -= 1
    header = f"0 to {rows - 1}" if limit is None else f"{limit.minimum} to {limit.maximum}"
    readouts.warn(
        f"lines are counted from {first} to {last}, according to the header from {header}: read as counted from 1"
    )


def _count_from_edge(readouts: Readouts) -> None:
    """Add the centre to line numbers that are counted from the centre; negative numbers are stored modulo 65536."""
    heads, encoding = readouts.raw.heads, readouts.encoding
    numbers = heads["idx"]["kspace_encode_step_1"]
    signed = numbers.astype(np.int16)
    first, last = int(signed[readouts.rows].min()), int(signed[readouts.rows].max())
    rows, limit = encoding.encoded.matrix[1], encoding.line_limit
    centre = rows // 2 if limit is None or not limit.centre else limit.centre
    if not (first < 0 <= last and first + centre >= 0 and last + centre < max(rows, 2 * centre)):
        return
    of_lines = ~has_flag(heads, NOISE)
    numbers[of_lines] = np.maximum(signed[of_lines] + centre, 0)
    readouts.warn(f"lines are counted from the centre of k-space, from {first} to {last}: line {centre} is the centre")
