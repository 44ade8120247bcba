"""Raw scans between streams and ISMRMRD files: what a server receives is stored, and stored scans are sent."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype, waveform_dtype

from cinerecon.errors import HeaderError
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.hdf5_writer import new_hdf5
from cinerecon.io.mrd_stream.messages import AcquisitionMessage, Message, MessageId, TextMessage, WaveformMessage

BLOCK = 512
"""Rows that are written or read at once."""


class ReceivedScan:
    """An ISMRMRD file to which the messages of a scan are added as they arrive; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path, self.has_header, self.n_readouts = path, False, 0
        self._rows: dict[str, list[tuple[object, ...]]] = {"data": [], "waveforms": []}

    def __enter__(self) -> Self:
        self._context = new_hdf5(self.path)
        self._group = self._context.__enter__().create_group("dataset")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            for name in self._rows:
                self._store(name)
        self._context.__exit__(kind, error, trace)

    def add(self, message: TextMessage | AcquisitionMessage | WaveformMessage) -> None:
        """Add a header, a readout or a waveform.

        Raises
        ------
        HeaderError
            If there are two headers.
        """
        if isinstance(message, TextMessage):
            if self.has_header:
                raise HeaderError("two headers were received", where="stream", hint="send one scan per connection")
            self.has_header = True
            self._group.create_dataset("xml", data=[message.content], dtype=h5py.special_dtype(vlen=bytes))
        elif isinstance(message, AcquisitionMessage):
            self.n_readouts += 1
            samples = np.ascontiguousarray(message.samples).view(np.float32)
            self._append("data", (message.head, message.trajectory, samples))
        else:
            self._append("waveforms", (message.head, message.values.ravel()))

    def _append(self, name: str, row: tuple[object, ...]) -> None:
        self._rows[name].append(row)
        if len(self._rows[name]) == BLOCK:
            self._store(name)

    def _store(self, name: str) -> None:
        dtype = acquisition_dtype if name == "data" else waveform_dtype
        rows = np.zeros(len(self._rows[name]), dtype)
        for number, row in enumerate(self._rows[name]):
            rows[number] = row
        self._rows[name].clear()
        if not rows.size:
            return
        if name not in self._group:
            self._group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(BLOCK,))
        stored = self._group[name]
        stored.resize(len(stored) + len(rows), axis=0)
        stored[-len(rows) :] = rows


def scan_messages(path: Path, group: str = "dataset") -> Iterator[Message]:
    """The messages of a stored scan: its header, its waveforms and its readouts, in the order of the file.

    Raises
    ------
    FileError
        If it is no HDF5 file.
    HeaderError
        If the group holds no raw scan.
    """
    require_hdf5(path)
    with h5py.File(path, "r") as file:
        if not {f"{group}/xml", f"{group}/data"} <= {f"{group}/{name}" for name in file.get(group, ())}:
            raise HeaderError(f"there is no raw scan in the group '{group}'", where=str(path))
        text = file[group]["xml"][0]
        yield TextMessage(MessageId.HEADER, text if isinstance(text, bytes) else str(text).encode())
        for name in ("waveforms", "data"):
            stored = file[group].get(name)
            for first in range(0, 0 if stored is None else len(stored), BLOCK):
                for row in stored[first : first + BLOCK]:
                    head = row["head"]
                    if name == "data":
                        yield AcquisitionMessage(head, row["data"].view(np.complex64), row["traj"])
                    else:
                        yield WaveformMessage(head, row["data"].reshape(int(head["channels"]), -1))
