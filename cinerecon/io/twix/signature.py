"""Recognition of Siemens raw data by the first bytes."""

import re
from pathlib import Path

MOST_MEASUREMENTS = 64
"""Entries of the table of measurements."""
LONGEST_TABLE_HEADER = 32
"""First number of a file of line VD or later; in a file of line VB it is the length of the protocol."""
MOST_BUFFERS = 64
"""Largest number of buffers of a protocol."""
BUFFER_NAME = re.compile(rb"[A-Z][A-Za-z]{3,30}\0")


def software_line(start: bytes) -> str:
    """The software line that wrote a file: ``VB``, ``VD`` (VD, VE, XA and later), or empty for other files.

    A file of line VD begins with zero and the number of its measurements, a file of line VB with the length of its
    protocol, the number of the protocol's buffers, and the name of the first one.

    Parameters
    ----------
    start
        The first bytes of the file, at least 64.
    """
    if len(start) < 8:
        return ""
    first, second = (int.from_bytes(start[i : i + 4], "little") for i in (0, 4))
    if first <= LONGEST_TABLE_HEADER and 1 <= second <= MOST_MEASUREMENTS:
        return "VD"
    if first > LONGEST_TABLE_HEADER and 1 <= second <= MOST_BUFFERS and BUFFER_NAME.match(start, 8):
        return "VB"
    return ""


def is_twix(path: Path) -> bool:
    """Whether a regular file is Siemens raw data, by its content; a pipe is not opened, which would wait for it."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return bool(software_line(file.read(64)))
    except OSError:
        return False
