"""Correction of readouts whose oversampling was removed before writing, and of their calibration lines.

Programs that remove the readout oversampling may keep ``center_sample``, the encoded matrix and the encoded field of
view of the measured readout. The centre is then outside the readout, or the header describes a larger grid than the
readouts fill.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.conventions.echo import N_ECHO_PROBES
from cinerecon.acquisition.conventions.encoding import LARGEST_UNDECLARED_OVERSAMPLING
from cinerecon.acquisition.grid import anisotropy
from cinerecon.acquisition.readouts import Readouts
from cinerecon.acquisition.select import Selection
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import REVERSE, Index, RawScan

ECHO_PART = 1 / 8
"""Largest distance between echo and middle of a readout, as a fraction of its length, if the middle is the centre."""
CENTRES_OF_SIEMENS = (5, 6)
"""User counters that contain the centre line and the centre partition of a Siemens readout."""
ANISOTROPY_MARGIN = 0.1
"""Smallest difference of the logarithms of two pixel anisotropies for one to be clearly closer to a square pixel."""


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


def correct_calibration(raw: RawScan, selection: Selection, claimed: Mapping[tuple[int, int], int]) -> None:
    """Set the centre of calibration readouts to that of image readouts with the same length and ``center_sample``.

    ``claimed`` is the corrected centre for each length and stored centre of the image readouts.
    """
    rows = np.setdiff1d(selection.calibration, selection.image)
    for (length, centre), corrected in claimed.items():
        alike = (raw.heads["number_of_samples"][rows] == length) & (raw.heads["center_sample"][rows] == centre)
        raw.heads["center_sample"][rows[alike]] = corrected


def claimed_centres(readouts: Readouts) -> dict[tuple[int, int], Index]:
    """The image readouts with each length and stored ``center_sample``, without reversed readouts."""
    kinds = np.stack([readouts.field("number_of_samples"), readouts.field("center_sample")], 1).astype(int)
    is_forward = ~readouts.has_flag(REVERSE)
    return {
        (int(length), int(centre)): readouts.rows[(kinds == (length, centre)).all(1)]
        for length, centre in np.unique(kinds[is_forward], axis=0)
    }


def place_calibration_of_other_encodings(
    raw: RawScan, selection: Selection, encodings: tuple[EncodingSpace, ...]
) -> None:
    """Number the lines of calibration readouts as in the encoding of the image, assuming the same line spacing."""
    own = encodings[selection.encoding].centre_line
    references = raw.heads["encoding_space_ref"][selection.calibration]
    for reference in np.unique(references[references != selection.encoding]):
        rows = selection.calibration[references == reference]
        _add(raw, "kspace_encode_step_1", rows, own - encodings[reference].centre_line)


def place_calibration_of_siemens(raw: RawScan, selection: Selection) -> None:
    """Number the lines and partitions of calibration-only readouts with the same centre as those of the image.

    Siemens readouts have a centre of their own, which converters store in ``idx.user``. It is used if it is that of the
    header in all image readouts.
    """
    if not raw.header.is_siemens or "user" not in (raw.heads["idx"].dtype.names or ()):
        return
    line, partition = (raw.heads["idx"]["user"][:, number].astype(np.int64) for number in CENTRES_OF_SIEMENS)
    own = raw.header.encodings[selection.encoding].centre_line
    if own == 0 or not (line[selection.image] == own).all():
        return
    rows = np.setdiff1d(selection.calibration, selection.image)
    rows = rows[(line[rows] > 0) & (raw.heads["encoding_space_ref"][rows] == selection.encoding)]
    _add(raw, "kspace_encode_step_1", rows, own - line[rows])
    _add(raw, "kspace_encode_step_2", rows, int(partition[selection.image[0]]) - partition[rows])


def _add(raw: RawScan, counter: str, rows: Index, shift: int | NDArray[np.int64]) -> None:
    """Add to a counter of some readouts; negative numbers wrap around to numbers outside the grid."""
    numbers = raw.heads["idx"][counter][rows].astype(np.int64) + shift
    raw.heads["idx"][counter][rows] = numbers.astype(np.uint16)
