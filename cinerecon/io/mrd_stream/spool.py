"""Storage of a scan while it is received: samples in a temporary file, headers in memory.

Data are appended to the file and read at known positions, so that one thread can add readouts while another one reads
earlier readouts.
"""

import os
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError
from cinerecon.io.ismrmrd.header import read_header
from cinerecon.io.ismrmrd.raw import Index, RawScan, as_objects, largest_part
from cinerecon.io.ismrmrd.waveforms import ECG_ID, MAX_WAVEFORM_SAMPLES, Waveform, within_limit
from cinerecon.io.mrd_stream.messages import HEAD, AcquisitionMessage

HEADS_AT_ONCE = 4096
"""Initial capacity of the array of headers, which is doubled when it is full."""


class Spool:
    """The readouts of a scan in the order of arrival; a context manager that deletes the file at its end.

    Parameters
    ----------
    path
        The temporary file.
    header
        The XML header of the scan.

    Raises
    ------
    HeaderError
        If the header is malformed.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.header, self.xml = read_header(header, path.name)
        self._digest = sha256(header)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._end = 0
        self._heads = np.zeros(HEADS_AT_ONCE, HEAD)
        self._amplitudes: list[float] = []
        self._starts: list[int] = []
        self._waveforms: list[Waveform] = []
        self._n_waveform_samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self.path.unlink()

    def __len__(self) -> int:
        """Number of readouts."""
        return len(self._starts)

    @property
    def identity(self) -> str:
        """Checksum of the header and the first readout, whose noise is different in each scan."""
        return self._digest.hexdigest()

    def add(self, message: AcquisitionMessage | Waveform) -> None:
        """Store a readout or a block of the ECG; other waveforms are ignored, since no image depends on them.

        Raises
        ------
        FileError
            If the file system refuses, e.g. because it is full.
        """
        if isinstance(message, Waveform):
            if message.number == ECG_ID and self._n_waveform_samples <= MAX_WAVEFORM_SAMPLES:
                self._waveforms.append(message)
                self._n_waveform_samples += message.values.size
            return
        data = message.trajectory.tobytes() + message.samples.tobytes()
        if not len(self):
            self._digest.update(message.head.tobytes() + data)
        if len(self) == len(self._heads):
            self._heads = np.concatenate([self._heads, np.zeros_like(self._heads)])
        self._heads[len(self)] = message.head
        start = self._end
        self._append(data)
        self._amplitudes.append(largest_part(message.samples))
        self._starts.append(start)

    def _append(self, data: bytes) -> None:
        try:
            while data:
                written = os.pwrite(self._file, data, self._end)
                self._end, data = self._end + written, data[written:]
        except OSError as error:
            what = f"the readouts cannot be stored: {error.strerror}"
            raise FileError(what, where=str(self.path.parent), hint="set TMPDIR to another folder") from None

    def scan(self, rows: Index | None = None) -> RawScan:
        """The scan as received so far, or some of its readouts, renumbered from 0.

        Raises
        ------
        DataError
            If there are no readouts.
        """
        rows = np.arange(len(self)) if rows is None else rows
        if not len(rows):
            raise DataError("the stream has no readouts", where=self.path.name)
        heads = self._heads[rows]
        waveforms, warnings = within_limit(list(self._waveforms))
        return RawScan(
            self.path,
            "stream",
            self.header,
            self.xml,
            heads,
            np.array(self._amplitudes)[rows],
            _SpooledSamples(self._file, np.array(self._starts)[rows], *_lengths(heads)),
            warnings,
            waveforms,
        )

    def heads(self) -> NDArray[np.void]:
        """Headers of the readouts received so far, ``(readouts,)``."""
        return self._heads[: len(self)]


def _lengths(heads: NDArray[np.void]) -> tuple[Index, Index]:
    """Number of trajectory coordinates, and of samples of all coils, for each readout."""
    n_samples = heads["number_of_samples"].astype(np.intp)
    return n_samples * heads["trajectory_dimensions"], n_samples * heads["active_channels"]


class _SpooledSamples:
    """Access to the samples in the open file: the trajectory of each readout, followed by its samples."""

    def __init__(self, file: int, starts: Index, n_coordinates: Index, n_samples: Index) -> None:
        self._file, self._starts, self._n_coordinates, self._n_samples = file, starts, n_coordinates, n_samples

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """Read the samples or the trajectories of readouts."""
        return as_objects([self._read_one(name, int(row)) for row in rows])

    def _read_one(self, name: Literal["data", "traj"], row: int) -> NDArray[np.complex64] | NDArray[np.float32]:
        start, n_coordinates = int(self._starts[row]), int(self._n_coordinates[row])
        if name == "traj":
            return np.frombuffer(os.pread(self._file, 4 * n_coordinates, start), np.float32)
        n_bytes = 8 * int(self._n_samples[row])
        return np.frombuffer(os.pread(self._file, n_bytes, start + 4 * n_coordinates), np.complex64)
