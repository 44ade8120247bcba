"""A file object for the HDF5 library that tolerates write errors, e.g. if the disk is full.

After a failed write, the library crashes the process when it closes the file. Here, all writes succeed: data that
cannot be written are kept in memory until the file is closed, and the caller raises the error afterwards.
If an interruption (Ctrl-C) prevents h5py from closing the file, the library does so later, when `file` is closed.
"""

import errno
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from cinerecon.io.atomic import write_whole

PAGE = 4096
"""Size of a page in memory [bytes]."""
MAX_PAGES = 65_536
"""Largest number of pages in memory, 256 MiB; further data are discarded, since the file is invalid in any case."""


class FaultTolerantFile(io.RawIOBase):
    """A file whose operations always succeed, even after `file` was closed; the first error is stored in `error`."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.position = 0
        self.pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        """True, since HDF5 reads data that it has written."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True, since HDF5 writes at any position."""
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
        """The current position."""
        return self.position

    def write(self, values: Any) -> int:
        """Write at the current position; in memory after the first error."""
        content = memoryview(values).cast("B")
        if self.error is None:
            try:
                self._require_open()
                self.file.seek(self.position)
                write_whole(self.file, content)
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._keep(content)
        self.position += len(content)
        return len(content)

    def _keep(self, content: memoryview) -> None:
        """Store bytes at the current position in memory."""
        done = 0
        for number, part in self._parts(len(content)):
            if number not in self.pages and len(self.pages) < MAX_PAGES:
                self.pages[number] = self._page_on_disk(number)
            if number in self.pages:
                self.pages[number][part] = content[done : done + part.stop - part.start]
            done += part.stop - part.start

    def readinto(self, buffer: Any) -> int:
        """Read from the current position; data that were never written are zero."""
        view = memoryview(buffer).cast("B")
        if self.pages:
            done = 0
            for number, part in self._parts(len(view)):
                page = self.pages.get(number) or self._page_on_disk(number)
                view[done : done + part.stop - part.start] = page[part]
                done += part.stop - part.start
        else:
            content = self._read(self.position, len(view))
            view[: len(content)] = content
            view[len(content) :] = bytes(len(view) - len(content))
        self.position += len(view)
        return len(view)

    def _parts(self, n_bytes: int) -> Iterator[tuple[int, slice]]:
        """The pages of the next bytes, and the part of each page that they cover."""
        start, end = self.position, self.position + n_bytes
        while start < end:
            number, first = divmod(start, PAGE)
            last = min(PAGE, first + end - start)
            yield number, slice(first, last)
            start += last - first

    def _page_on_disk(self, number: int) -> bytearray:
        return bytearray(self._read(number * PAGE, PAGE).ljust(PAGE, b"\0"))

    def _read(self, start: int, n_bytes: int) -> bytes:
        """Bytes of the file; fewer at its end, and none after it was closed."""
        if self.file.closed:
            return b""
        self.file.seek(start)
        return self.file.read(n_bytes)

    def _require_open(self) -> None:
        """Raise an error if the file was closed, as by an interruption while HDF5 closes it."""
        if self.file.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        size = self.position if size is None else size
        if self.error is None:
            try:
                self._require_open()
                self.file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Do nothing, since there is no buffer."""
