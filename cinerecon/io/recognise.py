"""Recognition of file formats by suffix and first bytes; pipes are not opened, since this would block."""

import gzip
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py

from cinerecon.errors import FileError
from cinerecon.io.mrd_stream.messages import CONFIG_BYTES, LONGEST_TEXT, TEXTS, MessageId
from cinerecon.io.untrusted import refuse_pipe

CASE_FORMAT = "cinerecon case"
"""Attribute ``format`` of prepared cases."""
MATLAB = b"MATLAB"
"""First bytes of MATLAB files of any version."""
YARDL = b"yardl"
"""First bytes of a binary MRD 2 file."""
ARRAYS = (b"\x93NUM", b"PK\x03\x04")
"""First bytes of ``.npy`` and ``.npz`` files."""
DICM = b"DICM"
DICOM_GROUPS = (b"\x08\x00", b"\x02\x00")
"""First group of a DICOM file without a preamble (little endian): identification, or file meta information."""
LARGEST_FIRST_ELEMENT = 0x70
"""Largest number of the first element of a file without a preamble."""
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive, perhaps .nii.gz or .tar.gz: unpack it first"),
    (0, b"BZh", "a bzip2 archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (128, DICM, "a DICOM image, not raw data"),
    (344, b"n+1\0", "a NIfTI image, not raw data"),
    (344, b"ni1\0", "a NIfTI image, not raw data"),
    (0, b"\x93NUMPY", "a NumPy .npy array"),
    (0, b"MATLAB 5.0", "a MATLAB v5 file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"%PDF", "a PDF document"),
)
"""Offset, signature and description of other formats."""
MAX_MEASUREMENTS = 64
"""Largest number of measurements in a twix file."""
LONGEST_TABLE_HEADER = 32
"""Largest first number in a twix file since VD; in VB files, it is the length of the protocol."""
MAX_BUFFERS = 64
"""Largest number of buffers in a protocol."""
BUFFER_NAME = re.compile(rb"[A-Z][A-Za-z]{3,30}\0")


def start_of(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a regular file; empty if it is missing or cannot be read."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(n_bytes)
    except OSError:
        return b""


def is_dicom(path: Path) -> bool:
    """Whether a file begins like a DICOM file, with a preamble and ``DICM``, or without it as in older exports."""
    start = start_of(path, 132)
    if start[128:] == DICM:
        return True
    is_first = len(start) > 8 and start[:2] in DICOM_GROUPS and start[3] == 0 and start[2] <= LARGEST_FIRST_ELEMENT
    return is_first and ((start[4:6].isalpha() and start[4:6].isupper()) or start[6:8] == b"\0\0")


def open_unlocked(path: Path, **options: Any) -> h5py.File:
    """Open an HDF5 file read-only without a lock, or with the kind of lock that this program already has on it.

    Parameters
    ----------
    path
        The file.
    **options
        Further options of `h5py.File`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    for locking in (False, None):
        try:
            return h5py.File(path, "r", locking=locking, **options)
        except OSError as error:
            if "locking" not in str(error):
                raise
    return h5py.File(path, "r", locking=True, **options)


def is_case(path: Path) -> bool:
    """Whether a file is a prepared case, by its format attribute; False if it cannot be read."""
    try:
        if not path.is_file():  # opening a pipe would block
            return False
        with open_unlocked(path) as file:
            result: bool = file.attrs.get("format") == CASE_FORMAT
            return result
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def is_matlab(path: Path) -> bool:
    """Whether a file is a MATLAB file, by its ending or its first bytes."""
    return path.suffix.lower() == ".mat" or start_of(path, len(MATLAB)) == MATLAB


def is_cfl(path: Path) -> bool:
    """Whether a path is a BART array, by its suffix; ``.hdr``, which has other uses, also requires the content."""
    return path.suffix == ".cfl" or (path.suffix == ".hdr" and start_of(path, 64).lstrip().startswith(b"#"))


def is_kspace_array(path: Path) -> bool:
    """Whether a file is a BART array, a ``.npy`` file or an archive of arrays, by suffix and first bytes."""
    return is_cfl(path) or (path.suffix.lower() in (".npy", ".npz") and start_of(path, 4) in ARRAYS)


def is_mrd2(path: Path) -> bool:
    """Whether a file begins like a binary stream of MRD version 2."""
    return start_of(path, len(YARDL)) == YARDL


def is_mrd_stream(path: Path) -> bool:
    """Whether a regular file begins like a stream of ISMRMRD messages."""
    return path.is_file() and starts_stream(start_of(path, CONFIG_BYTES + 4))


def starts_stream(start: bytes) -> bool:
    """Whether bytes are the beginning of a stream of ISMRMRD messages.

    The first message may be a configuration, a header or a text, all of which must be readable, a readout or an image
    of version 1, or the close message.

    Parameters
    ----------
    start
        The first 1028 bytes of the file, or all bytes of a shorter file.
    """
    code, content = int.from_bytes(start[:2], "little"), start[2:]
    if code == MessageId.CLOSE:
        return not content
    if code in (MessageId.ACQUISITION, MessageId.IMAGE):
        return content.startswith(b"\x01\0")
    if code == MessageId.CONFIG_FILE:
        name, _, rest = content[:CONFIG_BYTES].partition(b"\0")
        following = int.from_bytes(content[CONFIG_BYTES:], "little")
        return _is_text(name) and not rest.strip(b"\0") and (bool(name) or following in set(MessageId))
    length = int.from_bytes(content[:4], "little")
    text = content[4 : 4 + min(length, 32)].rstrip(b"\0")
    return code in TEXTS and 0 < length <= LONGEST_TEXT and bool(text) and _is_text(text)


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in content)


def is_twix(path: Path) -> bool:
    """Whether a regular file is Siemens raw data, by its content."""
    return bool(software_line(start_of(path, 64)))


def software_line(start: bytes) -> str:
    """The software line of a twix file: ``VB``, or ``VD`` for VD, VE and XA; empty for other files.

    VD files begin with zero and the number of measurements; VB files with the length of the protocol, its number of
    buffers, and the name of the first buffer.

    Parameters
    ----------
    start
        At least the first 64 bytes of the file.
    """
    if len(start) < 8:
        return ""
    first, second = (int.from_bytes(start[i : i + 4], "little") for i in (0, 4))
    if first <= LONGEST_TABLE_HEADER and 1 <= second <= MAX_MEASUREMENTS:
        return "VD"
    if first > LONGEST_TABLE_HEADER and 1 <= second <= MAX_BUFFERS and BUFFER_NAME.match(start, 8):
        return "VB"
    return ""


def first_bytes(path: Path) -> bytes:
    """Read the first bytes of a file, which identify its format.

    Raises
    ------
    FileError
        If it is missing, not a regular file, or unreadable.
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
    """A description of the probable format of a file that is not HDF5, from its first bytes."""
    if not start:
        return "an empty file"
    if start.startswith(b"\x1f\x8b"):
        start = _unpacked(path) or start
    names = names_in_archive(path) if start.startswith(b"PK\x03\x04") else []
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy .npz archive"
    for offset, signature, name in SIGNATURES:
        if start[offset : offset + len(signature)] == signature:
            return name
    if start.startswith(b"\x89HDF"):
        return "a file with a damaged HDF5 signature"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<html", b"<!doctype html")):
        return "an HTML page (text), perhaps from a failed download"
    if text.startswith((b"<?xml", b"<ismrmrdheader")):
        return "XML text without data"
    if software_line(start):
        return f"a Siemens raw file (.dat, line {software_line(start)})"
    if not any(byte < 9 or 13 < byte < 32 for byte in start):
        return "text"
    return "binary data of an unknown kind"


def _unpacked(path: Path) -> bytes:
    """The first decompressed bytes of a gzip file that contains a NIfTI image; empty for other files."""
    try:
        with gzip.open(path) as file:
            start = file.read(1024)
    except (OSError, EOFError, zlib.error):
        return b""
    return start if start[344:348] in (b"n+1\0", b"ni1\0") else b""


def names_in_archive(path: Path) -> list[str]:
    """The names of the files in a zip archive; empty if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return []
