"""HDF5 files of any kind: checks of format and completeness, arrays of the file itself, and files to be written.

The HDF5 library does not survive a failed write: it ends in a segmentation fault when the file is closed. So it writes
to a Python object that never fails: after the first error it discards what follows, and the error is raised once the
library has closed the file.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from cinerecon.errors import DataError, FileError
from cinerecon.io.twix.definitions import software_line
from cinerecon.io.untrusted import refuse_pipe

CHUNK_CACHE = {"rdcc_nslots": 100_003, "rdcc_nbytes": 64 << 20}
"""Raw scans keep each readout in a chunk of its own; the default cache forgets them between two reads."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive, perhaps .nii.gz or .tar.gz: unpack it first"),
    (0, b"BZh", "a bzip2 archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (128, b"DICM", "a DICOM image, not raw data"),
    (344, b"n+1\0", "a NIfTI image, not raw data"),
    (344, b"ni1\0", "a NIfTI image, not raw data"),
    (0, b"\x93NUMPY", "a NumPy .npy array"),
    (0, b"MATLAB 5.0", "a MATLAB v5 file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"%PDF", "a PDF document"),
)

CONVERT = (
    "read directly: ISMRMRD in HDF5 or streams, MRD 2, Siemens .dat; convert others (ge_to_ismrmrd, philips_to_ismrmrd)"
)

IMAGES = "these are images: `cinerecon prepare` makes cases of them, `cinerecon simulate --from` a raw scan"

LARGEST_RATIO = 1100
"""No HDF5 filter, and no compression of MATLAB's, packs numbers tighter than this: a larger array is a false claim."""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file read-only, without locking it.

    Raises
    ------
    FileError
        If it is missing, is not HDF5 (saying what it looks like), or is damaged.
    """
    require_hdf5(path)
    try:
        file = h5py.File(path, "r", locking=False, **CHUNK_CACHE)
    except OSError as error:
        truncated = "truncated" in str(error)
        what = "the HDF5 file is truncated: it ends before its own end mark" if truncated else f"damaged HDF5: {error}"
        raise FileError(what, where=str(path), hint="copy or download it again") from None
    with file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
            hint = "copy or download it again"
            raise FileError(f"the HDF5 file is damaged: {error}", where=str(path), hint=hint) from error


def require_hdf5(path: Path) -> None:
    """Check that there is an HDF5 file, before the HDF5 library meets it.

    Raises
    ------
    FileError
        If it is missing, a folder, unreadable, or of another kind.
    """
    start = first_bytes(path)
    if not h5py.is_hdf5(path):
        kind = looks_like(path, start)
        hint = IMAGES if kind.endswith("image, not raw data") else CONVERT
        raise FileError(f"this is not an HDF5 file, but {kind}", where=str(path), hint=hint)


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, which identify its format.

    Raises
    ------
    FileError
        If it is missing, a folder, no regular file, or unreadable.
    """
    if not path.exists():
        raise FileError("there is no such file", where=str(path))
    if path.is_dir():
        raise FileError("this is a folder, expected one raw scan", where=str(path))
    refuse_pipe(path)
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as error:
        raise FileError(f"cannot read the file: {error.strerror}", where=str(path)) from None


def looks_like(path: Path, start: bytes) -> str:
    """Guess what a file that is not HDF5 is, from its first bytes."""
    if not start:
        return "an empty file"
    if start.startswith(b"\x1f\x8b"):
        start = _unpacked(path) or start
    if start.startswith(b"PK\x03\x04") and _holds_arrays(path):
        return "a NumPy .npz archive"
    for offset, signature, name in SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    if start.startswith(b"\x89HDF"):
        return "the damaged beginning of one"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<html", b"<!doctype html")):
        return "an HTML page (text), perhaps of a download that failed"
    if text.startswith((b"<?xml", b"<ismrmrdheader")):
        return "XML text without data"
    if software_line(start):
        return f"a Siemens raw file (.dat, line {software_line(start)})"
    if not any(byte < 9 or 13 < byte < 32 for byte in start):
        return "text"
    return "binary data of an unknown kind"


def _unpacked(path: Path) -> bytes:
    """The first decompressed bytes of a gzip file if it contains a NIfTI image, otherwise empty."""
    try:
        with gzip.open(path) as file:
            start = file.read(1024)
    except (OSError, EOFError, zlib.error):
        return b""
    return start if start[344:348] in (b"n+1\0", b"ni1\0") else b""


def _holds_arrays(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def member(group: h5py.Group, name: str, where: str) -> Any:
    """A member of a group that is stored in the file itself; None if there is none.

    Raises
    ------
    FileError
        If it is a link to another file, or keeps its bytes in one.
    """
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if isinstance(link, h5py.ExternalLink):
        raise FileError(f"'{name}' is a link to another file ('{link.filename}'), which is not followed", where=where)
    item = group.get(name)
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise FileError(f"'{name}' keeps its values in another file, which is not opened", where=where)
    return item


def is_group(group: h5py.Group, name: str) -> bool:
    """Whether a member is a group in the file itself; links to other files and dangling links are not."""
    is_outside = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
    return not is_outside and isinstance(group.get(name), h5py.Group)


def require_plausible(name: str, n_bytes: float, path: Path) -> None:
    """Check that an array is not larger than its file can hold, before anything is allocated for it.

    Raises
    ------
    DataError
        With the claim and the size of the file.
    """
    size = path.stat().st_size
    if n_bytes > LARGEST_RATIO * size:
        what = f"'{name}' claims {n_bytes / 1e9:.3g} GB, more than a file of {size} bytes can hold"
        raise DataError(what, where=str(path), hint="copy or download it again")


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
