"""Opening and writing of HDF5 files: checks of format and completeness, and handling of write errors.

After a failed write, the HDF5 library causes a segmentation fault when the file is closed. It therefore writes to a
Python object that never fails (`full_disk`), and the error is raised after the library has closed the file.

Heaps are checked before the library reads them. Values of variable length are stored in "global heap collections",
which consist of a header and objects, each with its size. In an incomplete copy of full length they are zero, and the
library enters an infinite loop at an object of size zero. All collections are therefore traversed first, in parallel
with one object per step.
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
from cinerecon.io.recognise import first_bytes, looks_like, open_unlocked

CHUNK_CACHE = {"rdcc_nslots": 100_003, "rdcc_nbytes": 64 << 20}
"""Settings of the chunk cache: readouts are often stored in separate chunks, for which the default is too small."""


CONVERT = (
    "formats that are read directly: ISMRMRD (HDF5 or stream), MRD 2, Siemens .dat; convert others "
    "(ge_to_ismrmrd, philips_to_ismrmrd)"
)

IMAGES = "these are images: `cinerecon prepare` converts them to cases, `cinerecon simulate --from` to a raw scan"

LARGEST_RATIO = 1100
"""Largest possible compression ratio of HDF5 filters and MATLAB files; arrays that declare more are refused."""
COLLECTION = b"GCOL\x01\0\0\0"
HEAD = 16
"""Size of the header of a collection, and of each object [bytes]."""
MAX_COLLECTION_SIZE = 64 << 20
"""Largest size of a valid collection [bytes]."""
WINDOW = 32 << 20
"""Number of bytes that are examined before pages are released, so that the memory does not depend on the file size."""
SUPERBLOCKS = {0: 13, 1: 13, 2: 9, 3: 9}
"""Offset of the sizes of addresses and lengths in each version of the superblock [bytes]."""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file read-only, without locking it.

    Raises
    ------
    FileError
        If it is missing, damaged, or not HDF5; in the last case, the error describes its probable format.
    """
    require_hdf5(path)
    try:
        file = open_unlocked(path, **CHUNK_CACHE)
    except OSError as error:
        if "already open for write" in str(error):
            what = "another program is writing the file, or ended without closing it"
            raise FileError(what, where=str(path), hint="wait until it is complete, or: h5clear -s FILE") from None
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
    """Check that a file is HDF5 before the HDF5 library opens it.

    Raises
    ------
    FileError
        If it is missing, a folder, unreadable, or has another format.
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
    """A member of a group that is stored in the same file; None if there is none.

    Raises
    ------
    FileError
        If it is a link to another file, or its values are stored in another file.
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
    """Whether a member is a group in the same file; links to other files and broken links are not."""
    return not is_external(group, name) and isinstance(group.get(name), h5py.Group)


def require_plausible(name: str, n_bytes: float, path: Path) -> None:
    """Check that a file of this size can contain an array, before memory is allocated for it.

    Raises
    ------
    DataError
        If it cannot.
    """
    size = path.stat().st_size
    if n_bytes > LARGEST_RATIO * size:
        what = f"'{name}' claims {n_bytes / 1e9:.3g} GB, more than a file of {size} bytes can hold"
        raise DataError(what, where=str(path), hint="copy or download it again")


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Create an HDF5 file; ``options`` are those of `h5py.File`.

    Raises
    ------
    OSError
        If it cannot be written, e.g. because the disk is full.
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
    """Check that the heaps of a file can be traversed.

    Raises
    ------
    FileError
        If a heap contains zeros instead of objects.
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
    """Release the memory of all pages, which are read again if necessary."""
    if hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _has_wide_lengths(content: mmap.mmap) -> bool:
    """Whether lengths are stored with 8 bytes, as by all known writers."""
    signature = content.find(b"\x89HDF\r\n\x1a\n", 0, 8192)
    offset = SUPERBLOCKS.get(content[signature + 8]) if signature >= 0 else None
    return offset is not None and content[signature + offset + 1] == 8


def _find_collections(content: mmap.mmap) -> NDArray[np.int64]:
    """Offsets of all collections; for speed, the content of each is skipped."""
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
    """Traverse all collections in parallel, and return the offset of an object of size zero; None if there is none."""
    _release_pages(mapped)
    content = np.frombuffer(mapped, np.uint8)
    starts = starts[starts + HEAD <= len(content)]
    ends = np.minimum(starts + _heads(content, starts)[1], len(content))
    offsets = starts + HEAD
    while True:
        inside = offsets + HEAD <= ends
        offsets, ends = offsets[inside], ends[inside]
        if offsets.size == 0:
            return None
        is_free, size = _heads(content, offsets)
        if (empty := np.flatnonzero(is_free & (size == 0))).size:
            return int(offsets[empty[0]])
        offsets = offsets + np.where(is_free, size, HEAD + (size + 7) // 8 * 8)


def _heads(content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether the index in each header is zero, as for free space, and the size, limited to 2^60."""
    first, size = content[offsets[:, None] + np.arange(HEAD)].view("<u8").T
    return first % 2**16 == 0, np.minimum(size, 1 << 60).astype(np.int64)
