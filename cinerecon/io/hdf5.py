"""HDF5 files of any kind: checks of format and completeness, arrays of the file itself, and files to be written.

The HDF5 library does not survive a failed write: it ends in a segmentation fault when the file is closed. So it writes
to a Python object that never fails (`full_disk`), and the error is raised once the library has closed the file.

Heaps are validated before the library reads them. Samples of variable length are stored in "global heap collections": a
header, then objects, each with its own size. An incomplete copy of full length has zeros there, and at an object of
size zero the library loops endlessly. Every collection is therefore traversed first, all of them in parallel, one
object per step.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError
from cinerecon.io.full_disk import FaultTolerantFile
from cinerecon.io.recognise import first_bytes, looks_like

CHUNK_CACHE = {"rdcc_nslots": 100_003, "rdcc_nbytes": 64 << 20}
"""Raw scans store each readout in its own chunk; the default cache is too small to keep them between two reads."""


CONVERT = (
    "formats that are read directly: ISMRMRD (HDF5 or stream), MRD 2, Siemens .dat; convert others "
    "(ge_to_ismrmrd, philips_to_ismrmrd)"
)

IMAGES = "these are images: `cinerecon prepare` converts them to cases, `cinerecon simulate --from` to a raw scan"

LARGEST_RATIO = 1100
"""Largest compression ratio of HDF5 filters and MATLAB files: an array that claims to be larger is refused."""
COLLECTION = b"GCOL\x01\0\0\0"
HEAD = 16
"""Bytes of the header of a collection, and of each object."""
MAX_COLLECTION_SIZE = 64 << 20
"""Largest size of a valid collection [bytes]."""
WINDOW = 32 << 20
"""Bytes of the file that are examined before its pages are released: memory does not grow with the file."""
SUPERBLOCKS = {0: 13, 1: 13, 2: 9, 3: 9}
"""Offset of the widths of addresses and lengths in each version of the superblock."""


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
    """Check that a file is HDF5, before the HDF5 library opens it.

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


def is_external(group: h5py.Group, name: str) -> bool:
    """Whether a member is a link to another file; such links are never followed."""
    return isinstance(group.get(name, getlink=True), h5py.ExternalLink)


def member(group: h5py.Group, name: str, where: str) -> Any:
    """A member of a group that is stored in the file itself; None if there is none.

    Raises
    ------
    FileError
        If it is a link to another file, or its values are stored in one.
    """
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if isinstance(link, h5py.ExternalLink):
        raise FileError(f"'{name}' is a link to another file ('{link.filename}'), which is not followed", where=where)
    item = group.get(name)
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise FileError(f"'{name}' stores its values in another file, which is not opened", where=where)
    return item


def is_group(group: h5py.Group, name: str) -> bool:
    """Whether a member is a group in the file itself; links to other files and dangling links are not."""
    return not is_external(group, name) and isinstance(group.get(name), h5py.Group)


def require_plausible(name: str, n_bytes: float, path: Path) -> None:
    """Check that an array is not larger than its file can hold, before anything is allocated for it.

    Raises
    ------
    DataError
        If it claims more than the file can hold.
    """
    size = path.stat().st_size
    if n_bytes > LARGEST_RATIO * size:
        what = f"'{name}' claims {n_bytes / 1e9:.3g} GB, more than a file of {size} bytes can hold"
        raise DataError(what, where=str(path), hint="copy or download it again")


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Create an HDF5 file.

    Raises
    ------
    OSError
        If the file system refuses, e.g. because the disk is full.
    """
    with path.open("w+b", buffering=0) as raw:
        tolerant = FaultTolerantFile(raw)
        try:
            with h5py.File(tolerant, "w", **options) as file:
                yield file
        except Exception:
            if tolerant.error is None:
                raise
        if tolerant.error is not None:
            raise tolerant.error


def require_sound_heaps(path: Path) -> None:
    """Check that the heaps of a file can be traversed to their end.

    Raises
    ------
    FileError
        If a heap has zeros instead of samples.
    """
    if path.stat().st_size < 4 * HEAD:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not _has_wide_lengths(content):
            return
        starts = _find_collections(content)
        windows = np.split(starts, np.flatnonzero(np.diff(starts // WINDOW)) + 1)
        damaged = next(
            (offset for offset in (_first_empty_object(content, part) for part in windows) if offset is not None), None
        )
    if damaged is not None:
        what = f"the HDF5 file is damaged: zeros at byte {damaged}, where samples are expected"
        raise FileError(what, where=str(path), hint="the copy is incomplete: copy or download it again")


def _release_pages(content: mmap.mmap) -> None:
    """Release the pages read so far; they are read again if needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _has_wide_lengths(content: mmap.mmap) -> bool:
    """Whether sizes have 8 bytes, as all known writers store them."""
    signature = content.find(b"\x89HDF\r\n\x1a\n", 0, 8192)
    offset = SUPERBLOCKS.get(content[signature + 8]) if signature >= 0 else None
    return offset is not None and content[signature + offset + 1] == 8


def _find_collections(content: mmap.mmap) -> NDArray[np.int64]:
    """Offsets of the collections. The search skips the content of each, which makes it fast."""
    offsets: list[int] = []
    released = 0
    offset = content.find(COLLECTION)
    while offset >= 0:
        if offset - released > WINDOW:
            _release_pages(content)
            released = offset
        offsets.append(offset)
        size = int.from_bytes(content[offset + 8 : offset + HEAD], "little")
        offset = content.find(COLLECTION, offset + (size if HEAD <= size <= MAX_COLLECTION_SIZE else HEAD))
    return np.array(offsets, np.int64)


def _first_empty_object(mapped: mmap.mmap, starts: NDArray[np.int64]) -> int | None:
    """Traverse collections in parallel; the offset of the first object of size zero, None if there is none."""
    _release_pages(mapped)
    content = np.frombuffer(mapped, np.uint8)
    starts = starts[starts + HEAD <= len(content)]
    ends = np.minimum(starts + _number(content, starts + 8, 8), len(content))
    offsets = starts + HEAD
    while True:
        inside = offsets + HEAD <= ends
        offsets, ends = offsets[inside], ends[inside]
        if offsets.size == 0:
            return None
        size = _number(content, offsets + 8, 8)
        is_free = _number(content, offsets, 2) == 0
        if (empty := np.flatnonzero(is_free & (size == 0))).size:
            return int(offsets[empty[0]])
        offsets = offsets + np.where(is_free, size, HEAD + (size + 7) // 8 * 8)


def _number(content: NDArray[np.uint8], offsets: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Little-endian numbers at the offsets, limited to 2^60."""
    raw = np.zeros((len(offsets), 8), np.uint8)
    raw[:, :width] = content[offsets[:, None] + np.arange(width)]
    return np.asarray(np.minimum(raw.view("<u8")[:, 0], np.uint64(1 << 60)).astype(np.int64))
