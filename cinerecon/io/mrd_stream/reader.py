"""Raw scans in streams of ISMRMRD messages.

Since a stream has no index, it is read completely, and the samples are kept in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cinerecon.errors import DataError, FileError, HeaderError
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import RawScan, as_complex, collected_scan
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    CloseMessage,
    ImageMessage,
    Message,
    MessageId,
    TextMessage,
    read_messages,
    write_message,
)
from cinerecon.io.recognise import is_mrd_stream, open_unlocked
from cinerecon.io.untrusted import refuse_pipe

BLOCK = 512
"""Number of rows of an HDF5 file that are read together."""


def holds_stream_images(path: Path) -> bool:
    """Whether the first image or readout of a stream is an image; False if the stream is damaged."""
    if not is_mrd_stream(path):
        return False
    with path.open("rb") as file:
        try:
            for message in read_messages(file, str(path)):
                if isinstance(message, ImageMessage | AcquisitionMessage):
                    return isinstance(message, ImageMessage)
        except FileError:  # `read_mrd_stream` reports the error
            pass
    return False


def read_mrd_stream(path: Path) -> RawScan:
    """Read a raw scan from a stream in a file.

    Raises
    ------
    FileError
        If the stream is truncated or damaged; the error contains the number of the message.
    HeaderError
        If there is not exactly one header, or it is invalid.
    DataError
        If there are no readouts.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        scan = scan_of_messages(list(read_messages(file, str(path))), path)
        n_left = path.stat().st_size - file.tell()
    if n_left:
        raise DataError(f"{n_left} bytes follow the close message", where=str(path), hint="one scan per stream")
    return scan


def scan_of_messages(messages: list[Message], path: Path) -> RawScan:
    """The raw scan in the messages of a stream; ``path`` is its name in errors, those of `read_mrd_stream`."""
    where = str(path)
    headers = [m.content for m in messages if isinstance(m, TextMessage) and m.id is MessageId.HEADER]
    if len(headers) != 1:
        what = f"the stream has {len(headers)} headers" if headers else "the stream has no header"
        raise HeaderError(what, where=where, hint="one scan per stream, which begins with its header")
    readouts = [m for m in messages if isinstance(m, AcquisitionMessage)]
    return collected_scan(
        path,
        read_header(headers[0], where),
        [m.head for m in readouts],
        [m.samples for m in readouts],
        [m.trajectory for m in readouts],
        [m for m in messages if isinstance(m, Waveform)],
        n_images=sum(isinstance(m, ImageMessage) for m in messages),
    )


def write_raw_stream(raw: RawScan, file: BinaryIO) -> None:
    """Write a raw scan as a stream: the header, the waveforms, the readouts, and the close message.

    Raises
    ------
    DataError
        If the number of samples or coordinates of a readout differs from its header, or a block of a waveform is longer
        than version 1 can store.
    """
    for message in messages_of_scan(raw):
        write_message(file, message)


def messages_of_scan(raw: RawScan) -> Iterator[Message]:
    """The messages of a raw scan, without a configuration; raises the errors of `write_raw_stream`."""
    yield TextMessage(MessageId.HEADER, raw.xml.encode())
    yield from raw.waveforms
    heads = raw.standard_heads()
    for block in raw.stored_readouts():
        for row, samples, trajectory in zip(*block, strict=True):
            n_coordinates = int(heads[row]["number_of_samples"]) * int(heads[row]["trajectory_dimensions"])
            if len(trajectory) != n_coordinates:
                what = f"the header declares {n_coordinates} trajectory coordinates, but {len(trajectory)} are stored"
                raise DataError(what, where=raw.at(row))
            yield AcquisitionMessage(heads[row], as_complex(samples), np.asarray(trajectory, np.float32))
    yield CloseMessage()


def scan_messages(path: Path) -> Iterator[Message]:
    """The messages of a scan in an HDF5 file, as a client sends them: header, waveforms and readouts, unchanged.

    Raises
    ------
    FileError
        If it is not an HDF5 file.
    HeaderError
        If its group ``dataset`` contains no raw scan.
    """
    require_hdf5(path)
    with open_unlocked(path) as file:
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
