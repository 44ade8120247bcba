"""Line numbers that begin at 1 where the header counts from 0, as MATLAB programs write them, or at the centre."""

import numpy as np

from cinerecon.acquisition.counters import Warn
from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag


def count_lines_from_zero(raw: RawScan, image: Index, warn: Warn) -> None:
    """Count the lines from 0 where they begin at 1 and end 1 beyond the header's limit or the last row, or are signed.

    Parameters
    ----------
    raw
        The scan; its readout headers are changed.
    image
        Row numbers of the image readouts.
    warn
        Called where lines were counted otherwise.
    """
    _count_from_edge(raw, image, warn)
    encoding = raw.header.encodings[0]
    numbers = raw.heads["idx"]["kspace_encode_step_1"]
    lines = numbers[image].astype(np.int64)
    first, last, rows = int(lines.min()), int(lines.max()), encoding.encoded.matrix[1]
    limit = encoding.limits.get("kspace_encoding_step_1")
    if first < 1:
        return
    centre = rows // 2 if limit is None or limit.centre is None else limit.centre
    ends_beyond_limit = limit is not None and limit.minimum == 0 and last == limit.maximum + 1
    ends_beyond_matrix = rows // 2 - centre + last == rows
    if not (ends_beyond_limit or ends_beyond_matrix):
        return
    of_lines = ~has_flag(raw.heads, 19) & (numbers > 0)
    numbers[of_lines] -= 1
    header = f"0 to {rows - 1}" if limit is None else f"{limit.minimum} to {limit.maximum}"
    warn(f"lines are counted from {first} to {last}, by the header from {header}: read as counted from 1")


def _count_from_edge(raw: RawScan, image: Index, warn: Warn) -> None:
    """Add the centre to line numbers that are counted from it, negative ones wrapped around at 65536."""
    numbers = raw.heads["idx"]["kspace_encode_step_1"]
    encoding, signed = raw.header.encodings[0], numbers.astype(np.int16)
    first, last = int(signed[image].min()), int(signed[image].max())
    rows, limit = encoding.encoded.matrix[1], encoding.limits.get("kspace_encoding_step_1")
    centre = rows // 2 if limit is None or not limit.centre else limit.centre
    if not (first < 0 <= last and first + centre >= 0 and last + centre < max(rows, 2 * centre)):
        return
    of_lines = ~has_flag(raw.heads, 19)
    numbers[of_lines] = np.maximum(signed[of_lines] + centre, 0)
    warn(f"lines are counted from the centre of k-space, from {first} to {last}: line {centre} is the centre")
