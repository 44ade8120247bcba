"""The encoded grid, where the header describes another one than the readouts were measured on.

Three descriptions are in circulation: partitions of a scan that is 2-D, a matrix without the oversampling of the
readout, and the zero-filled matrix of the image instead of the measured one.
"""

from dataclasses import replace

import numpy as np

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.grid import LARGEST_FACTOR
from cinerecon.acquisition.oversampling import anisotropy
from cinerecon.errors import HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import Index, RawScan

LARGEST_OVERSAMPLING = 4
"""Readouts are at most this many times as long as a matrix that leaves the oversampling out."""
MEASURED_PART = 0.9
"""Readouts that are symmetric and shorter than this part of the matrix show that it is zero-filled."""


def correct_encoded_space(raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn) -> RawScan:
    """The scan with the encoded grid that its readouts were measured on.

    Parameters
    ----------
    raw
        The scan, with one encoding.
    image
        Row numbers of the image readouts.
    zeros
        Samples before and after those that hold anything, ``(readouts,)``.
    warn
        Called with each correction.

    Raises
    ------
    HeaderError
        If the two axes are exchanged.
    """
    encoding = raw.header.encodings[0]
    encoding = _without_empty_partitions(encoding, raw, image, warn)
    encoding = _with_oversampling(encoding, raw, image, warn)
    encoding = _without_zero_filling(encoding, raw, image, zeros, warn)
    return replace(raw, header=replace(raw.header, encodings=(encoding,)))


def _with_matrix(encoding: EncodingSpace, x: int, y: int, z: int, fov_x_mm: float | None = None) -> EncodingSpace:
    fov_x, fov_y, fov_z = encoding.encoded.fov_mm
    fov_mm = (fov_x if fov_x_mm is None else fov_x_mm, fov_y, fov_z)
    return replace(encoding, encoded=replace(encoding.encoded, matrix=(x, y, z), fov_mm=fov_mm))


def _without_empty_partitions(encoding: EncodingSpace, raw: RawScan, image: Index, warn: Warn) -> EncodingSpace:
    """A 2-D scan whose encodedSpace z is larger than 1, as Pulseq sequences write it.

    The limit of the counter says how many partitions there are; where there is none, the image's matrix does.
    """
    x, y, z = encoding.encoded.matrix
    limit = encoding.limits.get("kspace_encoding_step_2")
    expected = encoding.recon.matrix[2] if limit is None else limit.maximum + 1 - limit.minimum
    is_single = np.ptp(raw.heads["idx"]["kspace_encode_step_2"][image].astype(int)) == 0
    if z == 1 or expected > 1 or not is_single:
        return encoding
    warn(f"encodedSpace z is {z}, the data hold 1 partition: they are read as a 2-D scan")
    return _with_matrix(encoding, x, y, 1)


def _with_oversampling(encoding: EncodingSpace, raw: RawScan, image: Index, warn: Warn) -> EncodingSpace:
    """Readouts that are a whole number of times as long as encodedSpace x, with their centre in the middle.

    Data streamed by OpenRecon are like this: the header has the base resolution, the readouts their oversampling. The
    field of view grows with the matrix, unless the header has only that of the oversampled readout.
    """
    x, y, z = encoding.encoded.matrix
    heads = raw.heads[image]
    n_samples, centre = (int(heads[name][0]) for name in ("number_of_samples", "center_sample"))
    is_common = bool((heads["number_of_samples"] == n_samples).all() and (heads["center_sample"] == centre).all())
    factor, rest = divmod(n_samples, x)
    if not is_common or rest or not 1 < factor <= LARGEST_OVERSAMPLING or centre != n_samples // 2:
        return encoding
    if n_samples == y and _span(raw, image) <= x:
        what = f"encodedSpace is {x} x {y}, the readouts hold {n_samples} samples: x and y are exchanged in the header"
        raise HeaderError(what, where=str(raw.path), hint="x is the readout: exchange matrixSize and fieldOfView_mm")
    fov_mm, recon_fov_mm = encoding.encoded.fov_mm[0], encoding.recon.fov_mm[0]
    if abs(fov_mm / recon_fov_mm - 1) < 0.01:
        fov_mm *= factor
    elif abs(fov_mm / recon_fov_mm / factor - 1) > 0.01:
        return encoding
    warn(
        f"encodedSpace x is {x}, the readouts hold {n_samples} samples around their centre: read as {factor}x "
        "oversampling that the header leaves out"
    )
    return _with_matrix(encoding, n_samples, y, z, fov_mm)


def _without_zero_filling(
    encoding: EncodingSpace, raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn
) -> EncodingSpace:
    """Readouts that end on both sides of their centre long before the matrix does: the image keeps what was measured.

    An asymmetric echo reaches one edge of the matrix. The rows are reduced with the columns if the lines fit, and the
    pixels come out no less square.
    """
    x, y, z = encoding.encoded.matrix
    heads = raw.heads[image]
    n_samples, centre = heads["number_of_samples"].astype(int), heads["center_sample"].astype(int)
    measured = 2 * int(np.maximum(centre - zeros[0], n_samples - zeros[1] - centre).max())
    if (centre == 0).any() or not x / LARGEST_FACTOR <= measured < MEASURED_PART * x:
        return encoding
    rows = round(y * measured / x)
    reduced = _with_matrix(encoding, measured, y, z)
    uneven = [abs(np.log(anisotropy(reduced, n))) for n in (rows, y)]
    rows = rows if _span(raw, image) <= rows and uneven[0] <= uneven[1] + 1e-3 else y
    held = int((n_samples - sum(zeros)).max())
    warn(
        f"encodedSpace is zero-filled, {x} x {y}: the readouts hold {held} samples around their centre, "
        f"so {measured} x {rows} is taken, and the image keeps the measured resolution"
    )
    return _with_matrix(encoding, measured, rows, z)


def _span(raw: RawScan, image: Index) -> int:
    """Rows between the first and the last line, both included."""
    return int(np.ptp(raw.heads["idx"]["kspace_encode_step_1"][image].astype(int))) + 1
