"""The readouts of a measurement in a twix file: all headers are read at once, samples on demand.

There is no index. The header of each readout determines its size and therefore the position of the next one; the last
header has the flag ``ACQEND``. Synchronous data (``SYNCDATA``), such as physiological signals, are stored in packets
between the readouts.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError
from cinerecon.io.ismrmrd.raw import Index, as_objects, largest_part
from cinerecon.io.twix.measurements import COPY_HINT, Layout, Measurement, offset_of

Mdh = NDArray[np.void]
"""``(readouts,)`` structured array of measurement data headers."""
UNSET_UID = bytes(4)
"""Number of the measurement in the last header of files written by twixtools."""
SMALLEST_END, LARGEST_END = 128, 1 << 16
"""Smallest size in the header with the flag ``ACQEND``, and largest number of bytes from it to the end of the
measurement; both are 352 in scanner files of line VE. twixtools writes a size of 160."""
SIZE_BITS = (1 << 25) - 1
"""Bits of the first word of a header that contain the size of the block."""


@dataclass(frozen=True)
class Packet:
    """A packet of synchronous data between readouts.

    Attributes
    ----------
    start, size
        Offset of its content in the file, and size of the content [bytes].
    n_readouts
        Number of readouts before it.
    """

    start: int
    size: int
    n_readouts: int


@dataclass(frozen=True, eq=False)
class TwixSamples:
    """The samples of the readouts of a measurement.

    Attributes
    ----------
    path
        The file.
    layout
        The binary layout of the readouts.
    offsets
        ``(readouts,)`` offset of each readout in the file.
    n_channels, n_samples
        ``(readouts,)`` number of channels, and of samples per channel.
    channels
        ``(channels,)`` channel numbers in the order in which samples are returned; None for the stored order.
    """

    path: Path
    layout: Layout
    offsets: NDArray[np.int64]
    n_channels: Index
    n_samples: Index
    channels: NDArray[np.uint16] | None = None

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """Read the samples of readouts, a flat complex64 array each; trajectories are empty.

        Raises
        ------
        FileError
            If the file was truncated after it was opened.
        """
        if name == "traj":
            return as_objects([np.zeros(0, np.float32)] * len(rows))
        with self.path.open("rb") as file:
            return as_objects([self._blocks(file, int(row))["samples"].reshape(-1) for row in rows])

    def examine(self) -> tuple[NDArray[np.float64], list[tuple[int, ...]]]:
        """Largest real or imaginary part of each readout, ``(readouts,)``, and its channel numbers."""
        amplitude, channels, known = np.empty(len(self.offsets)), [], dict[bytes, tuple[int, ...]]()
        with self.path.open("rb") as file:
            for row in range(len(self.offsets)):
                blocks = self._blocks(file, row)
                amplitude[row] = largest_part(blocks["samples"].reshape(-1))
                numbers = blocks["channel_id"]
                channels.append(known.setdefault(numbers.tobytes(), tuple(numbers.tolist())))
        return amplitude, channels

    def channel_ids(self, row: int) -> NDArray[np.uint16]:
        """Channel numbers of a readout, in the order in which its samples are returned."""
        with self.path.open("rb") as file:
            return np.array(self._blocks(file, row)["channel_id"])

    def _blocks(self, file: BinaryIO, row: int) -> NDArray[np.void]:
        """Read number and samples of each channel of a readout."""
        layout, n_channels, n_samples = self.layout, int(self.n_channels[row]), int(self.n_samples[row])
        block = np.dtype(
            {
                "names": ["channel_id", "samples"],
                "formats": ["<u2", ("<c8", (n_samples,))],
                "offsets": [layout.channel_id, layout.channel_header],
                "itemsize": layout.channel_header + 8 * n_samples,
            }
        )
        file.seek(int(self.offsets[row]) + layout.lead)
        content = file.read(n_channels * block.itemsize)
        if len(content) < n_channels * block.itemsize:
            raise FileError("the file was truncated while it was being read", where=f"{self.path}, acquisition {row}")
        blocks = np.frombuffer(content, block, n_channels)
        stored = blocks["channel_id"]
        if self.channels is None or np.array_equal(stored, self.channels):
            return blocks
        order = np.argsort(stored, kind="stable")
        if not np.array_equal(stored[order], np.sort(self.channels)):
            return blocks
        return blocks[order[np.argsort(np.argsort(self.channels))]]


def read_headers(
    path: Path, measurement: Measurement, layout: Layout, start: int
) -> tuple[Mdh, TwixSamples, tuple[Packet, ...]]:
    """Read the headers of all readouts of a measurement, and locate samples and packets.

    Parameters
    ----------
    path, measurement
        The file and the measurement.
    layout
        The binary layout of the readouts.
    start
        Offset of the first readout, after the protocol.

    Returns
    -------
        The headers, access to the samples, and the packets of synchronous data.

    Raises
    ------
    FileError
        If the measurement is truncated or damaged; the error contains the position.
    DataError
        If it has no readouts.
    """
    where = f"{path}, {measurement.label}"
    offsets: list[int] = []
    headers: list[bytes] = []
    packets: list[Packet] = []
    end_flag, skip_flag = (1 << layout.flags[name] for name in ("ACQEND", "SYNCDATA"))
    at_flags, at_sizes, at_uid = (
        offset_of(layout.header, name) for name in ("EvalInfoMask", "SamplesInScan", "MeasUID")
    )
    position = start
    with path.open("rb") as file:
        while True:
            file.seek(position)
            head = file.read(layout.header.itemsize) if position + layout.header.itemsize <= measurement.end else b""
            if len(head) < layout.header.itemsize:
                raise _truncated(len(offsets), measurement, where)
            flags = int.from_bytes(head[at_flags : at_flags + 8], "little")
            uid = head[at_uid : at_uid + 4]
            is_end = bool(flags & end_flag)
            is_complete = not is_end or SMALLEST_END <= _size(head) <= measurement.end - position <= LARGEST_END
            uids = (headers[0][at_uid : at_uid + 4], UNSET_UID if is_end else b"") if headers else (uid,)
            if uid not in uids or not is_complete:
                raise _damaged(position, len(offsets), where)
            if is_end:
                break
            if flags & skip_flag:
                size = _size(head)
                packets.append(Packet(position + len(head), size - len(head), len(offsets)))
            else:
                n_samples, n_channels = (int.from_bytes(head[i : i + 2], "little") for i in (at_sizes, at_sizes + 2))
                size = layout.readout_bytes(n_channels, n_samples) if n_samples and n_channels else 0
                offsets.append(position)
                headers.append(head)
            if size < layout.header.itemsize:
                raise _damaged(position, len(offsets), where)
            position += size
            if position > measurement.end:
                raise _truncated(len(offsets), measurement, where)
    if not headers:
        raise DataError(
            "the measurement has no readouts", where=where, hint="the scan was aborted before its first readout"
        )
    mdh = np.frombuffer(b"".join(headers), layout.header)
    all_channels, all_samples = (mdh[name].astype(np.intp) for name in ("UsedChannels", "SamplesInScan"))
    store = TwixSamples(path, layout, np.array(offsets, np.int64), all_channels, all_samples)
    return mdh, store, tuple(packets)


def _size(head: bytes) -> int:
    """The size of a block according to its header [bytes]."""
    return int.from_bytes(head[:4], "little") & SIZE_BITS


def _damaged(position: int, n_readouts: int, where: str) -> FileError:
    what = f"the Siemens raw file is damaged: there is no readout at byte {position}, after {n_readouts}"
    return FileError(what, where=where, hint=COPY_HINT)


def _truncated(n_readouts: int, measurement: Measurement, where: str) -> FileError:
    what = (
        f"the Siemens raw file is truncated: it ends at byte {measurement.end}, in readout {n_readouts}, without the "
        f"mark that ends the measurement"
    )
    return FileError(what, where=where, hint=COPY_HINT)


def has_flag(mdh: Mdh, layout: Layout, *names: str) -> NDArray[np.bool_]:
    """Readouts with at least one of the flags, ``(readouts,)`` bool."""
    bits = np.uint64(sum(1 << layout.flags[name] for name in names))
    return np.asarray(mdh["EvalInfoMask"] & bits != 0)
