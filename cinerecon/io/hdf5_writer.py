"""Writing HDF5 files: a disk that becomes full is an error, not a crash of the process.

The HDF5 library does not survive a failed write: it ends in a segmentation fault when the file is closed. So it writes
to a Python object that never fails: after the first error it discards what follows, and the error is raised once the
library has closed the file.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py


class _FaultTolerantFile(io.RawIOBase):
    """A file for the HDF5 library whose operations always succeed; the first error is kept in `error`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.position = 0

    def readable(self) -> bool:
        """HDF5 reads back what it wrote."""
        return True

    def writable(self) -> bool:
        """HDF5 writes."""
        return True

    def seekable(self) -> bool:
        """HDF5 writes at any position."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position."""
        if whence == io.SEEK_END:
            offset += self.file.seek(0, io.SEEK_END)
        elif whence == io.SEEK_CUR:
            offset += self.position
        self.position = offset
        return offset

    def tell(self) -> int:
        """The position."""
        return self.position

    def write(self, values: Any) -> int:
        """Write at the position; after an error nothing is written."""
        n_bytes = memoryview(values).nbytes
        if self.error is None:
            try:
                self.file.seek(self.position)
                self.file.write(values)
            except OSError as error:
                self.error = error
        self.position += n_bytes
        return n_bytes

    def readinto(self, buffer: Any) -> int:
        """Read from the position; what was not written is zero."""
        view = memoryview(buffer).cast("B")
        self.file.seek(self.position)
        content = self.file.read(view.nbytes)
        view[: len(content)] = content
        view[len(content) :] = bytes(view.nbytes - len(content))
        self.position += view.nbytes
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        size = self.position if size is None else size
        if self.error is None:
            try:
                self.file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Create an HDF5 file.

    Parameters
    ----------
    path
        File to write, e.g. a temporary name of `io.atomic.moved_into_place`.
    options
        Options of `h5py.File`.

    Raises
    ------
    OSError
        If the file system refuses, e.g. because the disk is full.
    """
    with path.open("w+b", buffering=0) as raw:
        tolerant = _FaultTolerantFile(raw)
        try:
            with h5py.File(tolerant, "w", **options) as file:
                yield file
        except Exception:
            if tolerant.error is None:
                raise
        if tolerant.error is not None:
            raise tolerant.error
