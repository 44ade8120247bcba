"""A look at the heaps of an HDF5 file before the HDF5 library walks them.

Samples of variable length lie in "global heap collections": a head, then objects, each with its own size. A copy that
was cut short but keeps its length has zeros there, and over an object of size zero the library walks forever. So every
collection is walked here first, all of them at once, one object per step.
"""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError

COLLECTION = b"GCOL\x01\0\0\0"
HEAD = 16
"""Bytes of the head of a collection, and of the head of each object."""
LARGEST_LEAP = 64 << 20
"""A collection that claims to be larger [bytes] is not believed."""
WINDOW = 32 << 20
"""Bytes of the file looked at before its pages are handed back: a large file takes no more memory than a small one."""
SUPERBLOCKS = {0: 13, 1: 13, 2: 9, 3: 9}
"""Where each version of the superblock tells the width of addresses and of lengths."""


def require_sound_heaps(path: Path) -> None:
    """Check that the heaps of a file can be walked to their end.

    Raises
    ------
    FileError
        If one cannot: there are zeros where samples should be.
    """
    if path.stat().st_size < 4 * HEAD:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not _has_wide_lengths(content):
            return
        starts = _find_collections(content)
        windows = np.split(starts, np.flatnonzero(np.diff(starts // WINDOW)) + 1)
        stuck = next((place for place in (_first_stuck(content, part) for part in windows) if place is not None), None)
    if stuck is not None:
        what = f"the HDF5 file is damaged: zeros at byte {stuck}, where samples should be"
        raise FileError(what, where=str(path), hint="the copy is incomplete: copy or download it again")


def _hand_back(content: mmap.mmap) -> None:
    """Let the system have the pages read so far; they are read again if they are needed again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _has_wide_lengths(content: mmap.mmap) -> bool:
    """Whether sizes take 8 bytes, as every writer known makes them."""
    signature = content.find(b"\x89HDF\r\n\x1a\n", 0, 8192)
    place = SUPERBLOCKS.get(content[signature + 8]) if signature >= 0 else None
    return place is not None and content[signature + place + 1] == 8


def _find_collections(content: mmap.mmap) -> NDArray[np.int64]:
    """Where the collections begin. The search leaps over each, so that it passes over the samples in no time."""
    found: list[int] = []
    handed_back = 0
    place = content.find(COLLECTION)
    while place >= 0:
        if place - handed_back > WINDOW:
            _hand_back(content)
            handed_back = place
        found.append(place)
        size = int.from_bytes(content[place + 8 : place + HEAD], "little")
        place = content.find(COLLECTION, place + (size if HEAD <= size <= LARGEST_LEAP else HEAD))
    return np.array(found, np.int64)


def _first_stuck(mapped: mmap.mmap, starts: NDArray[np.int64]) -> int | None:
    """Walk some collections in step. The place of the first object over which no step leads, if there is one."""
    _hand_back(mapped)
    content = np.frombuffer(mapped, np.uint8)
    starts = starts[starts + HEAD <= len(content)]
    ends = np.minimum(starts + _number(content, starts + 8, 8), len(content))
    places = starts + HEAD
    while True:
        inside = places + HEAD <= ends
        places, ends = places[inside], ends[inside]
        if places.size == 0:
            return None
        size = _number(content, places + 8, 8)
        is_free = _number(content, places, 2) == 0
        if (stuck := np.flatnonzero(is_free & (size == 0))).size:
            return int(places[stuck[0]])
        places = places + np.where(is_free, size, HEAD + (size + 7) // 8 * 8)


def _number(content: NDArray[np.uint8], places: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Little-endian numbers at some places; larger than any file becomes the largest step that does no harm."""
    raw = np.zeros((len(places), 8), np.uint8)
    raw[:, :width] = content[places[:, None] + np.arange(width)]
    return np.minimum(raw.view("<u8")[:, 0], np.uint64(1 << 60)).astype(np.int64)
