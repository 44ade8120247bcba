"""Calibration lines for coil sensitivity maps.

Accelerated scans sample the centre of k-space densely with calibration lines, within the scan or before it. Lines of
another contrast cannot be used for the image, but are valid for the estimation of coil maps. If the scan is
undersampled and the calibration lines cover more of the centre than the time average of the image lines, the maps are
estimated from the calibration lines.

The two flags of calibration lines are often confused. Lines that are flagged as calibration only are also used as image
lines if every frame contains them at the centre of k-space and no other lines were measured there. Lines that are
flagged as calibration and imaging but differ from the image lines at the same point of k-space have another contrast
and are used for coil maps only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.grid import Grid
from cinerecon.acquisition.readouts.placement import Lines, compare_readouts, fits_grid, locate_lines
from cinerecon.acquisition.readouts.select import Selection, is_calibration_only
from cinerecon.acquisition.readouts.subset import Readouts, Warn, probe_lines, stronger_line
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import CALIBRATION_AND_IMAGING, REVERSE, Index, RawScan, flag_bit
from cinerecon.physics.sampling import block_of_lines, calibration_size

LARGEST_GAIN_OF_GAPS, MIN_GAPS = 1.8, 4
"""Amplitude ratio, or its inverse, above which calibration lines and the image lines between them have a different
gain, and smallest number of such image lines; the ratio is within 0.8 to 1.3 for equal gains."""
COUNTERS_OF_IMAGE = ("slice", "contrast", "phase", "repetition", "set")
"""The counters that distinguish images."""
N_COMPARED = 64
"""Largest number of calibration lines that are compared with image lines."""
CENTRES_OF_SIEMENS = (5, 6)
"""User counters that contain the centre line and the centre partition of a Siemens readout."""


def place_calibration(calibration: Readouts, image: Lines, n_frames: Iterable[int], grid: Grid) -> Lines:
    """Locate the calibration lines of each slice, except of slices whose image lines cover more of the centre.

    Gaps in the calibration lines are filled with image lines if these were measured.
    """
    placed = _place(calibration, image, grid)
    chosen = []
    for number, n in enumerate(n_frames):
        own, extra = image.of_slice(number), placed.of_slice(number)
        own_mask = own.mask(n, grid.ky)
        if extra.row.size == 0 or block_of_lines(own_mask) is not None:
            continue
        both = _with_gaps_filled(calibration, extra, own).in_one_frame()
        if _n_central(both.mask(1, grid.ky)) > _n_central(own_mask):
            chosen.append(both)
    empty = placed.where(np.zeros(len(placed.row), bool))
    return empty.joined(*chosen)


def _n_central(mask: NDArray[np.bool_]) -> int:
    """Number of central lines that are sampled densely enough for coil maps."""
    return calibration_size(mask, mask.shape[-2])[0]


def _with_gaps_filled(readouts: Readouts, calibration: Lines, image: Lines) -> Lines:
    """The calibration lines of a slice and, if they have gaps, the image lines between and next to them.

    If the calibration lines that are not image lines have a different gain, they are not combined with image lines, and
    a warning is given.
    """
    separate = calibration.where(is_calibration_only(readouts.raw.heads)[calibration.row])
    gain = _gain(readouts.raw, separate, image.where(~np.isin(image.ky, separate.ky)))
    if not 1 / LARGEST_GAIN_OF_GAPS < gain < LARGEST_GAIN_OF_GAPS:
        readouts.warn(
            f"the calibration lines have {gain:.2g} times the amplitude of the image lines between them (different "
            "contrast or gain): they are not combined for coil maps"
        )
        return separate
    first, last = int(calibration.ky.min()), int(calibration.ky.max())
    if len(np.unique(calibration.ky)) == last - first + 1:
        return calibration
    is_among = (image.ky >= first - 1) & (image.ky <= last + 1)
    return calibration.joined(image.where(is_among & ~np.isin(image.ky, calibration.ky)))


def _gain(raw: RawScan, calibration: Lines, image: Lines) -> float:
    """Amplitude of calibration lines relative to the image lines between two of them; 1 if there are few of these."""
    levels = [
        {int(row): float(np.median(raw.amplitude[lines.row[lines.ky == row]])) for row in np.unique(lines.ky)}
        for lines in (calibration, image)
    ]
    around, between = levels
    logs = [
        np.log(np.sqrt(around[row - 1] * around[row + 1]) / level)
        for row, level in between.items()
        if row - 1 in around and row + 1 in around and min(level, around[row - 1], around[row + 1]) > 0
    ]
    return float(np.exp(np.median(logs))) if len(logs) >= MIN_GAPS else 1.0


def _place(calibration: Readouts, image: Lines, grid: Grid) -> Lines:
    """Locate the calibration readouts that match the slices, coils and grid of the image, all in one frame."""
    heads, warn = calibration.raw.heads, calibration.warn
    slice_of = dict(zip(heads["idx"]["slice"][image.row].tolist(), image.slices.tolist(), strict=True))
    discarded = calibration.field("discard_pre").astype(int) + calibration.field("discard_post")
    usable = np.isin(calibration.counter("slice"), list(slice_of))
    usable &= calibration.field("number_of_samples") > discarded
    usable &= calibration.field("active_channels") == heads["active_channels"][image.row[0]]
    calibration = _of_same_partition(calibration.where(usable), image)
    slices = np.array([slice_of[number] for number in calibration.counter("slice").tolist()], np.intp)
    if len(calibration) == 0:
        return image.where(np.zeros(len(image.row), bool))
    placed = locate_lines(calibration, slices, np.zeros_like(slices), grid)
    fits = fits_grid(placed, grid)
    peak = None
    if fits.any():
        probe = probe_lines(calibration.where(fits & (placed.slices == placed.slices[fits][0])).readable())
        peak = stronger_line(probe, grid.ky // 2 - grid.first_row)
    if peak is not None:
        warn(
            f"the calibration lines have their maximum at line {peak}, not at the centre of k-space: they are not used"
        )
    elif not fits.all():
        warn(f"{int((~fits).sum())} calibration readouts do not fit the grid of the image: they are not used")
    return placed.where(fits & (peak is None))


def _of_same_partition(calibration: Readouts, image: Lines) -> Readouts:
    """The calibration readouts; none if some of them are from other partitions than the image, as in a 3-D scan."""
    partition = calibration.raw.heads["idx"]["kspace_encode_step_2"]
    n_other = int((~np.isin(partition[calibration.rows], partition[image.row])).sum())
    if n_other == 0:
        return calibration
    calibration.warn(f"{n_other} calibration readouts have another partition than the image: they are not used")
    return calibration.where(np.zeros(len(calibration), bool))


def add_central_lines(raw: RawScan, selection: Selection, warn: Warn) -> Selection:
    """Add lines that are flagged as calibration only to the image if they are its central lines.

    This is the case if every image has them and no other lines were measured at the centre of k-space.

    The line numbers must follow the standard. The flags of added lines are changed.
    """
    idx = raw.heads["idx"]
    rows = selection.calibration[is_calibration_only(raw.heads)[selection.calibration]]
    images = {tuple(row) for row in _counters(idx[selection.image]).tolist()}
    rows = rows[[tuple(row) in images for row in _counters(idx[rows]).tolist()]]
    own, extra = (idx["kspace_encode_step_1"][part].astype(np.int64) for part in (selection.image, rows))
    centre = raw.header.encoding.centre_line
    covers_all = len({tuple(row) for row in _counters(idx[rows]).tolist()}) == len(images)
    is_central = bool((np.abs(extra - centre) <= 1).any() and not (np.abs(own - centre) <= 1).any())
    if rows.size == 0 or not (covers_all and is_central) or np.isin(extra, own).any():
        return selection
    warn(
        f"lines {extra.min()} to {extra.max()} are flagged as calibration only, but they are the only lines at "
        "the centre of k-space and are present in every frame: they are used as image lines"
    )
    raw.heads["flags"][rows] |= flag_bit(CALIBRATION_AND_IMAGING)
    return replace(selection, image=np.union1d(selection.image, rows))


def _counters(idx: NDArray[np.void]) -> NDArray[np.int64]:
    return np.stack([idx[name].astype(np.int64) for name in COUNTERS_OF_IMAGE], 1)


def without_other_contrast(raw: RawScan, lines: Lines, calibration: Index, warn: Warn) -> Lines:
    """The image lines, except calibration lines that differ from other lines at the same point of k-space."""
    is_flagged = np.isin(lines.row, calibration)
    if not is_flagged.any() or is_flagged.all():
        return lines
    keys = np.stack([lines.slices, lines.frames, lines.ky], 1)
    first = {
        tuple(key): i for i, key in reversed(list(zip(np.flatnonzero(~is_flagged), keys[~is_flagged], strict=True)))
    }
    flagged = [(first[tuple(keys[i])], i) for i in np.flatnonzero(is_flagged) if tuple(keys[i]) in first]
    pairs = np.array(flagged, np.intp).reshape(-1, 2)
    pairs = pairs[raw.is_readable(lines.row[pairs]).all(1)]
    if not len(pairs):
        return lines
    strongest = np.argsort(-raw.amplitude[lines.row[pairs[:, 0]]], kind="stable")[:N_COMPARED]
    agreement = compare_readouts(raw, lines, pairs[strongest])
    if agreement.is_one_image and agreement.is_one_gain:
        return lines
    warn(
        f"{int(is_flagged.sum())} calibration lines differ from the image lines at the same position in k-space "
        f"(correlation {agreement.correlation:.2f}, {agreement.gain:.2g} times their amplitude): they are used "
        "for coil maps only"
    )
    return lines.where(~is_flagged)


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
