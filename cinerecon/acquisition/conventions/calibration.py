"""Correction of the centres and of the line numbers of calibration readouts, as those of the image readouts."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts import Readouts
from cinerecon.acquisition.select import Selection
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import REVERSE, Index, RawScan

CENTRES_OF_SIEMENS = (5, 6)
"""User counters that contain the centre line and the centre partition of a Siemens readout."""


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
