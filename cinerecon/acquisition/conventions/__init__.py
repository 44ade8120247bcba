"""Correction of common deviations of files from the ISMRMRD standard.

Deviations such as missing counters, lines counted from 1, or a matrix without oversampling are recognised from the
readouts. They are corrected with a warning if there is one possible interpretation. If there are several, the scan is
refused, and the error names the setting that decides. All later steps assume the standard.
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
    count_lines_from_zero,
    discard_zero_samples,
    zero_samples,
)
from cinerecon.acquisition.conventions.positions import separate_positions
from cinerecon.acquisition.conventions.readouts import (
    claimed_centres,
    correct_calibration,
    correct_removed_oversampling,
    place_calibration_of_other_encodings,
)
from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.select import Selection
from cinerecon.io.ismrmrd.raw import RawScan


def standardise(raw: RawScan, selection: Selection, config: AcquisitionConfig, warn: Warn) -> RawScan:
    """Convert header and counters of a scan to the definitions of the standard.

    Returns
    -------
    The scan, whose header has only the reconstructed encoding; the samples are unchanged.

    Raises
    ------
    HeaderError, DataError, UnsupportedError
        If the readouts contradict the header or each other and the correct interpretation is not clear.
    ConfigError
        If a setting does not fit the scan.
    """
    image = selection.image
    encoding = raw.header.encodings[selection.encoding]
    encodings = raw.header.encodings
    raw = replace(raw, header=replace(raw.header, encodings=(encoding,)), heads=raw.heads.copy())
    place_calibration_of_other_encodings(raw, selection, encodings)
    claimed = claimed_centres(raw, image)
    if config.center_sample is not None:
        set_echo_centre(raw, image, config.center_sample)
    raw = correct_removed_oversampling(raw, image, warn)
    zeros = zero_samples(raw, image)
    if config.center_sample is None:
        require_echo_in_middle(raw, image)
    raw = correct_encoded_space(raw, image, zeros, warn)
    if config.center_sample is None:
        correct_echo_centre(raw, image, warn)
    centres = {kind: int(raw.heads["center_sample"][rows[0]]) for kind, rows in claimed.items()}
    correct_calibration(raw, selection, centres)
    discard_zero_samples(raw, image, zeros, warn)
    count_lines_from_zero(raw, image, warn)
    raw = move_time(combine_counters(raw, config.combine), config.time_counter)
    separate_positions(raw, image, config.positions, warn)
    if not {"phase", "repetition"} & set(config.select):
        merge_segments(raw, image, warn)
    if "slice" not in config.select:
        raw = merge_slices(raw, image, warn)
    for counter in {"contrast", "set"} - set(config.select):
        require_whole_images(raw, image, counter)
    restore_counter(raw, image, config, warn)
    return raw
