"""Correction of common deviations of files from the ISMRMRD standard.

Deviations such as missing counters, lines counted from 1, or a matrix without oversampling are detected from the
readouts. A deviation with only one possible interpretation is corrected with a warning. If there are several
interpretations, the scan is refused, and the error names the setting that resolves the ambiguity. All later steps
assume that the data follow the standard.
"""

from dataclasses import replace

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.conventions.counters import (
    combine_counters,
    merge_segments,
    merge_slices,
    move_time,
    require_whole_images,
    restore_counter,
)
from cinerecon.acquisition.conventions.echo import correct_echo_centre, require_echo_in_middle, set_echo_centre
from cinerecon.acquisition.conventions.encoding import (
    correct_encoded_space,
    correct_removed_oversampling,
    count_lines_from_zero,
    discard_zero_samples,
    zero_samples,
)
from cinerecon.acquisition.conventions.positions import separate_positions
from cinerecon.acquisition.readouts.calibration import (
    claimed_centres,
    correct_calibration,
    place_calibration_of_other_encodings,
    place_calibration_of_siemens,
)
from cinerecon.acquisition.readouts.select import Selection
from cinerecon.acquisition.readouts.subset import Readouts, Warn
from cinerecon.io.ismrmrd.raw import RawScan


def standardise(raw: RawScan, selection: Selection, config: AcquisitionConfig, warn: Warn) -> RawScan:
    """Convert the header and the counters of a scan to the definitions of the standard.

    Returns
    -------
    The scan, whose header contains only the reconstructed encoding; the samples are unchanged.

    Raises
    ------
    HeaderError, DataError, UnsupportedError
        If the readouts contradict the header or each other and the correct interpretation is not clear.
    ConfigError
        If a setting does not fit the scan.
    """
    encodings = raw.header.encodings
    raw = replace(raw, heads=raw.heads.copy())
    place_calibration_of_siemens(raw, selection)
    place_calibration_of_other_encodings(raw, selection, encodings)
    raw = raw.with_encodings(encodings[selection.encoding])
    readouts = Readouts(raw, selection.image, warn)
    claimed = claimed_centres(readouts)
    if config.center_sample is not None:
        set_echo_centre(readouts, config.center_sample)
    readouts = correct_removed_oversampling(readouts)
    zeros = zero_samples(readouts)
    if config.center_sample is None:
        require_echo_in_middle(readouts)
    readouts = correct_encoded_space(readouts, zeros)
    if config.center_sample is None:
        correct_echo_centre(readouts)
    centres = {kind: int(readouts.raw.heads["center_sample"][rows[0]]) for kind, rows in claimed.items()}
    correct_calibration(readouts.raw, selection, centres)
    discard_zero_samples(readouts, zeros)
    count_lines_from_zero(readouts)
    readouts = readouts.with_raw(move_time(combine_counters(readouts.raw, config.combine), config.time_counter))
    separate_positions(readouts, config.positions)
    if not {"phase", "repetition"} & set(config.select):
        merge_segments(readouts)
    if "slice" not in config.select:
        readouts = merge_slices(readouts)
    for counter in ("contrast", "set"):
        if counter not in config.select:
            require_whole_images(readouts, counter)
    restore_counter(readouts, config)
    return readouts.raw
