"""Stored ISMRMRD scans as messages of a stream, as a client sends them."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from cinerecon.errors import HeaderError
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import AcquisitionMessage, Message, MessageId, TextMessage

BLOCK = 512
"""Rows that are read at once."""


def scan_messages(path: Path) -> Iterator[Message]:
    """The messages of a stored scan: its header, its waveforms and its readouts, in the order of the file.

    Raises
    ------
    FileError
        If it is not an HDF5 file.
    HeaderError
        If its group ``dataset`` holds no raw scan.
    """
    require_hdf5(path)
    with h5py.File(path, "r") as file:
        group = file.get("dataset", {})
        if not {"xml", "data"} <= set(group):
            raise HeaderError("there is no raw scan in the group 'dataset'", where=str(path))
        text = group["xml"][0]
        yield TextMessage(MessageId.HEADER, text if isinstance(text, bytes) else str(text).encode())
        for name in ("waveforms", "data"):
            stored = group.get(name)
            for first in range(0, 0 if stored is None else len(stored), BLOCK):
                for row in stored[first : first + BLOCK]:
                    head = row["head"]
                    if name == "data":
                        yield AcquisitionMessage(head, row["data"].view(np.complex64), row["traj"])
                    else:
                        yield Waveform.of(head, row["data"].reshape(int(head["channels"]), -1))
