"""Validation of the heaps of an HDF5 file before the HDF5 library reads them.

Samples of variable length are stored in "global heap collections": a header, then objects, each with its own size. An
incomplete copy of full length has zeros there, and at an object of size zero the library loops endlessly. Every
collection is therefore traversed first, all of them in parallel, one object per step.
"""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError

COLLECTION = b"GCOL\x01\0\0\0"
HEAD = 16
"""Bytes of the header of a collection, and of each object."""
MAX_COLLECTION_SIZE = 64 << 20
"""Largest size of a valid collection [bytes]."""
WINDOW = 32 << 20
"""Bytes of the file that are examined before its pages are released: memory does not grow with the file."""
SUPERBLOCKS = {0: 13, 1: 13, 2: 9, 3: 9}
"""Offset of the widths of addresses and lengths in each version of the superblock."""


def require_sound_heaps(path: Path) -> None:
    """Check that the heaps of a file can be traversed to their end.

    Raises
    ------
    FileError
        If one cannot: it contains zeros instead of samples.
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
        what = f"the HDF5 file is damaged: zeros at byte {damaged}, where samples should be"
        raise FileError(what, where=str(path), hint="the copy is incomplete: copy or download it again")


def _release_pages(content: mmap.mmap) -> None:
    """Release the pages read so far; they are read again if they are needed."""
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
    """Little-endian numbers at some offsets, limited to 2^60."""
    raw = np.zeros((len(offsets), 8), np.uint8)
    raw[:, :width] = content[offsets[:, None] + np.arange(width)]
    return np.asarray(np.minimum(raw.view("<u8")[:, 0], np.uint64(1 << 60)).astype(np.int64))
