"""Correction of the encoded grid, the centre of the readouts and the line numbers.

The following deviations of files from the ISMRMRD standard are corrected:

- The header describes a grid that was not measured: several partitions of a 2-D scan, a matrix without the readout
  oversampling, or the zero-filled matrix of the image.
- Samples that were not measured are stored as zeros at the ends of readouts (asymmetric echoes, zero-filled matrices).
- The sample at the centre of k-space is missing in the headers of the readouts or contradicts their samples.
- Line numbers begin at 1, as MATLAB programs write them, or are counted from the centre.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.grid import LARGEST_INTERPOLATION, anisotropy
from cinerecon.acquisition.placement import PILOT_TONE_SAMPLES
from cinerecon.acquisition.probe import PEAK_POWER_RATIO
from cinerecon.errors import ConfigError, HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import NOISE, REVERSE, Heads, Index, RawScan, has_flag

LARGEST_UNDECLARED_OVERSAMPLING = 4
"""Largest ratio of the readout length to a matrix that omits the oversampling."""
MEASURED_PART = 0.9
"""Ratio of the length of symmetric readouts to the matrix below which the matrix counts as zero-filled."""


def correct_encoded_space(raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn) -> RawScan:
    """Replace the encoded grid by the one on which the readouts were measured.

    Parameters
    ----------
    raw
        The scan, with one encoding.
    image
        Row numbers of the image readouts.
    zeros
        Number of zero samples at the start and at the end of the readouts, ``(readouts,)``.
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
    """Set encodedSpace z of a 2-D scan to 1, if it is larger, as Pulseq sequences write it.

    The number of partitions is taken from the limit of the counter or, if there is none, from the image matrix.
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
    """Correct a matrix without oversampling, if the length of the readouts is a multiple of encodedSpace x.

    An asymmetric echo reaches one edge of the oversampled grid and is truncated on the other side of its centre.

    OpenRecon streams such data: the header has the base resolution, and the readouts are oversampled. The field of
    view is scaled with the matrix, unless the header has only that of the oversampled readout.
    """
    x, y, z = encoding.encoded.matrix
    heads = raw.heads[image]
    n_samples, centre = (int(heads[name][0]) for name in ("number_of_samples", "center_sample"))
    is_common = bool((heads["number_of_samples"] == n_samples).all() and (heads["center_sample"] == centre).all())
    factor = -(-n_samples // x)
    half = factor * x // 2
    is_whole = n_samples == factor * x and centre == half
    is_asymmetric = n_samples < factor * x and half in (centre, n_samples - centre)
    if not (is_common and 1 < factor <= LARGEST_UNDECLARED_OVERSAMPLING and (is_whole or is_asymmetric)):
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
    return _with_matrix(encoding, factor * x, y, z, fov_mm)


def _without_zero_filling(
    encoding: EncodingSpace, raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn
) -> EncodingSpace:
    """Correct a zero-filled matrix, whose edges the readouts do not reach; the image keeps the measured resolution.

    An asymmetric echo reaches one edge of the matrix. The rows are reduced with the columns if the lines fit and the
    pixels do not become more anisotropic.
    """
    x, y, z = encoding.encoded.matrix
    heads = raw.heads[image]
    n_samples, centre = heads["number_of_samples"].astype(int), heads["center_sample"].astype(int)
    measured = 2 * int(np.maximum(centre - zeros[0], n_samples - zeros[1] - centre).max())
    if (centre == 0).any() or not x / LARGEST_INTERPOLATION <= measured < MEASURED_PART * x:
        return encoding
    rows = round(y * measured / x)
    reduced = _with_matrix(encoding, measured, y, z)
    uneven = [abs(np.log(anisotropy(reduced, n))) for n in (rows, y)]
    rows = rows if _span(raw, image) <= rows and uneven[0] <= uneven[1] + 1e-3 else y
    n_nonzero = int((n_samples - sum(zeros)).max())
    warn(
        f"encodedSpace is zero-filled, {x} x {y}: the readouts hold {n_nonzero} samples around their centre, "
        f"so {measured} x {rows} is used, and the image keeps the measured resolution"
    )
    return _with_matrix(encoding, measured, rows, z)


def _span(raw: RawScan, image: Index) -> int:
    """Number of rows from the first to the last line."""
    return int(np.ptp(raw.heads["idx"]["kspace_encode_step_1"][image].astype(int))) + 1


N_ZERO_PROBES = 64
"""Number of readouts of each kind that are examined."""


def zero_samples(raw: RawScan, image: Index) -> tuple[Index, Index]:
    """Count the zero samples at the start and at the end of the readouts, both ``(readouts,)``.

    Samples count if they are zero in all readouts of the same length.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of the image readouts.
    """
    before, after = np.zeros(len(image), np.intp), np.zeros(len(image), np.intp)
    kinds = _kinds(raw.heads[image])
    for kind in np.unique(kinds, axis=0):
        alike = (kinds == kind).all(1)
        rows = image[alike]
        probes = raw.samples(rows[:: -(-len(rows) // N_ZERO_PROBES)])
        nonzero = np.flatnonzero((probes != 0).any((0, 1)))
        if nonzero.size:
            before[alike], after[alike] = nonzero[0], probes.shape[-1] - 1 - nonzero[-1]
    return before, after


def discard_zero_samples(raw: RawScan, image: Index, zeros: tuple[Index, Index], warn: Warn) -> None:
    """Mark zero samples at the ends of the readouts as discarded, with the fields of the standard.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    zeros
        Number of samples at the start and at the end, from `zero_samples`.
    warn
        Called if there are any.
    """
    added = 0
    for name, n in zip(("discard_pre", "discard_post"), zeros, strict=True):
        added = max(added, int((n - raw.heads[name][image].astype(np.intp)).max()))
        raw.heads[name][image] = np.maximum(raw.heads[name][image], n)
    if added > 0:
        warn(f"up to {added} samples at the ends of the readouts hold nothing but zeros: they count as not measured")


def _kinds(heads: Heads) -> Index:
    """Length, number of channels and direction of each readout, ``(readouts, 3)``."""
    return np.stack([heads["number_of_samples"], heads["active_channels"], has_flag(heads, REVERSE)], 1).astype(np.intp)


N_ECHO_PROBES = 16
"""Number of readouts, those with the largest samples, that determine the position of the echo."""
ECHO_TOLERANCE = 1 / 8
"""Largest distance of echo and centre of k-space as fraction of the readout; field inhomogeneity shifts the echo."""


def set_echo_centre(raw: RawScan, image: Index, centre: int) -> None:
    """Set the centre of all readouts to the one that the user gives.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    centre
        The sample at the centre of k-space.

    Raises
    ------
    ConfigError
        If it is not a sample of the readouts.
    """
    n_samples = int(raw.heads["number_of_samples"][image].min())
    if centre >= n_samples:
        what = f"the requested centre is sample {centre}, the readouts hold {n_samples}"
        raise ConfigError(what, where="--set preprocessing.center_sample")
    raw.heads["center_sample"][image] = centre


def correct_echo_centre(raw: RawScan, image: Index, warn: Warn) -> None:
    """Set ``center_sample`` if it is missing, or impossible for a readout of all columns.

    The centre of a readout as long as encodedSpace x is its middle. The centre of a shorter one is its echo.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    warn
        Called with each correction.

    Raises
    ------
    HeaderError
        If the echo is far from the centre in the header.
    """
    n_samples = raw.heads["number_of_samples"][image].astype(np.intp)
    centre = raw.heads["center_sample"]
    kx = raw.header.encodings[0].encoded.matrix[0]
    whole = image[n_samples == kx]
    missing = whole[centre[whole] == 0] if kx > 1 else whole[:0]
    if missing.size:
        warn(f"center_sample is 0 in {missing.size} readouts of all {kx} samples: {kx // 2} is used")
        centre[missing] = kx // 2
    _count_reversed_forward(raw, image, kx, warn)
    for length in np.unique(n_samples):
        rows = image[n_samples == length]
        for claimed in np.unique(centre[rows]):
            alike = rows[centre[rows] == claimed]
            if claimed < length and len(alike) == len(rows):
                centre[alike] = _checked_centre(raw, alike, int(claimed), kx, warn)


def _count_reversed_forward(raw: RawScan, image: Index, kx: int, warn: Warn) -> None:
    """Convert ``center_sample`` of reversed readouts to the order of forward ones, if it counts samples as stored."""
    heads = raw.heads[image]
    kinds = np.stack([heads["number_of_samples"], heads["center_sample"]], 1).astype(np.intp)
    is_reverse = has_flag(heads, REVERSE)
    for length, claimed in np.unique(kinds[is_reverse], axis=0).tolist():
        rows = image[is_reverse & (kinds == (length, claimed)).all(1)]
        forward = length - 1 - claimed
        if length == kx or not 0 <= forward < length:
            continue
        peak, _ = _echo(raw, rows, claimed)
        if abs(peak - forward) < ECHO_TOLERANCE * length < abs(peak - claimed):
            warn(
                f"center_sample of reversed readouts is {claimed} of {length} as stored, {forward} as forward readouts"
            )
            raw.heads["center_sample"][rows] = forward


def _checked_centre(raw: RawScan, rows: Index, claimed: int, kx: int, warn: Warn) -> int:
    """The centre of readouts of equal length and equal ``center_sample``."""
    length = int(raw.heads["number_of_samples"][rows[0]])
    if raw.heads["discard_pre"][rows].any() or raw.heads["discard_post"][rows].any():
        return claimed
    peak, is_clear = _echo(raw, rows, claimed)
    is_far = is_clear and abs(peak - claimed) > ECHO_TOLERANCE * length
    if length == kx and claimed == kx // 2 and not is_far:
        return claimed
    possible = np.array([kx // 2, length - kx // 2, length // 2])
    nearest = int(possible[np.abs(possible - peak).argmin()])
    is_near = abs(nearest - peak) <= ECHO_TOLERANCE * length and 0 < nearest < length
    if length == kx and claimed != kx // 2:
        if abs(claimed - kx // 2) <= 1 or abs(peak - kx // 2) <= ECHO_TOLERANCE * kx:
            warn(f"center_sample is {claimed} in readouts of all {kx} samples: {kx // 2} is used")
            return kx // 2
    elif claimed == 0 and is_near:
        warn(f"center_sample is 0, the echo of the readouts is at sample {peak}: {nearest} is used")
        return nearest
    if not is_far:
        return claimed
    what = f"center_sample is {claimed} of {length} samples, the echo is at sample {peak}"
    by_data = nearest if is_near else peak
    if length == kx and min(peak, length - peak) <= 1:
        hint = "the samples are in the order of an FFT: write the centre of k-space in their middle (fftshift)"
        raise HeaderError(what, where=raw.at(rows[0]), hint=hint)
    hint = f"--set preprocessing.center_sample={by_data} follows the data, center_sample={claimed} the header"
    raise HeaderError(what, where=raw.at(rows[0]), hint=hint)


def _echo(raw: RawScan, rows: Index, claimed: int) -> tuple[int, bool]:
    """The sample with the strongest signal, and whether it clearly exceeds the samples around ``center_sample``."""
    channels = raw.heads["active_channels"]
    rows = rows[channels[rows] == channels[rows[0]]]
    amplitude = raw.amplitude[rows]
    amplitude = np.where(np.isfinite(amplitude), amplitude, -1.0)  # refused when its slice is read
    strongest = np.sort(rows[np.argsort(amplitude, kind="stable")[-N_ECHO_PROBES:]])
    samples = raw.samples(strongest)
    if raw.header.has_pilot_tone:
        samples[..., : PILOT_TONE_SAMPLES[0]] = samples[..., -PILOT_TONE_SAMPLES[1] :] = 0
    power = _power(samples, raw.heads[strongest])
    around = power[max(claimed - 3, 0) : claimed + 4].max()
    return int(power.argmax()), bool(power.max() > PEAK_POWER_RATIO * around)


def _power(samples: NDArray[np.complex64], heads: Heads) -> NDArray[np.float64]:
    """Median fraction of the power of a readout in each sample, in the forward direction, ``(samples,)``."""
    power = (np.abs(samples.astype(np.complex128)) ** 2).sum(1)
    is_reverse = has_flag(heads, REVERSE)
    power[is_reverse] = power[is_reverse, ::-1]
    total = power.sum(1, keepdims=True)
    return np.asarray(np.median(power / np.where(total > 0, total, 1.0), axis=0))  # robust against spikes


def count_lines_from_zero(raw: RawScan, image: Index, warn: Warn) -> None:
    """Count lines from 0 that are counted from 1, and exceed limit or grid by one, or from the centre of k-space.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    warn
        Called if the line numbers were changed.
    """
    _count_from_edge(raw, image, warn)
    encoding = raw.header.encodings[0]
    numbers = raw.heads["idx"]["kspace_encode_step_1"]
    lines = numbers[image].astype(np.int64)
    first, last, rows = int(lines.min()), int(lines.max()), encoding.encoded.matrix[1]
    limit = encoding.limits.get("kspace_encoding_step_1")
    if first < 1:
        return
    centre = encoding.centre_line
    ends_beyond_limit = limit is not None and limit.minimum == 0 and last == limit.maximum + 1
    ends_beyond_matrix = rows // 2 - centre + last == rows
    if not (ends_beyond_limit or ends_beyond_matrix):
        return
    of_lines = ~has_flag(raw.heads, NOISE) & (numbers > 0)
    numbers[of_lines] -= 1
    header = f"0 to {rows - 1}" if limit is None else f"{limit.minimum} to {limit.maximum}"
    warn(f"lines are counted from {first} to {last}, by the header from {header}: read as counted from 1")


def _count_from_edge(raw: RawScan, image: Index, warn: Warn) -> None:
    """Add the centre to line numbers that are counted from it; negative numbers are stored modulo 65536."""
    numbers = raw.heads["idx"]["kspace_encode_step_1"]
    encoding, signed = raw.header.encodings[0], numbers.astype(np.int16)
    first, last = int(signed[image].min()), int(signed[image].max())
    rows, limit = encoding.encoded.matrix[1], encoding.limits.get("kspace_encoding_step_1")
    centre = rows // 2 if limit is None or not limit.centre else limit.centre
    if not (first < 0 <= last and first + centre >= 0 and last + centre < max(rows, 2 * centre)):
        return
    of_lines = ~has_flag(raw.heads, NOISE)
    numbers[of_lines] = np.maximum(signed[of_lines] + centre, 0)
    warn(f"lines are counted from the centre of k-space, from {first} to {last}: line {centre} is the centre")
