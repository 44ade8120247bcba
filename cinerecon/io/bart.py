"""BART arrays: a text header ``.hdr`` with the dimensions, and complex64 samples ``.cfl`` in column-major order.

The meaning of each dimension is fixed (``src/misc/mri.h`` of BART): readout 0, phase encode 1, coils 3, sets of maps 4,
time 10, slices 13.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import DataError, FileError
from cinerecon.image import CineImage, each, file_notes, map_in_remarks
from cinerecon.io.untrusted import refuse_pipe, unreadable

N_DIMENSIONS = 16
"""Number of dimensions in headers written by BART."""
READ, PHASE_1, COIL, MAPS, TIME, SLICE = 0, 1, 3, 4, 10, 13
NAMES = {READ: "kx", PHASE_1: "ky", COIL: "coils", TIME: "frames", SLICE: "slices"}
"""Names of the axes of a cine, by their dimension."""
FIRST_LINE = "# Dimensions"
IMAGE_NOTE = ("cinerecon", "not for diagnostic use")
"""Lines that mark an array as images written by this package."""
LARGEST_HEADER = 1 << 20
"""Largest size of a header, in which BART also records command lines [bytes]."""
LARGEST_SIZE = 1 << 40
"""Largest size of a dimension, and largest number of samples."""


def cfl_files(path: Path) -> tuple[Path, Path]:
    """The files of header and samples, from the path of either."""
    return path.with_suffix(".hdr"), path.with_suffix(".cfl")


def open_cfl(path: Path) -> NDArray[np.complex64]:
    """Map an array into memory; axes are in the opposite order of the header, without trailing dimensions of size 1.

    Raises
    ------
    FileError
        If one of the two files is missing or cannot be read.
    DataError
        If the header is damaged, or does not match the number of samples.
    """
    header, samples = cfl_files(path)
    for file, other in ((header, samples), (samples, header)):
        if not file.is_file():
            refuse_pipe(file)
            hint = "the header (.hdr) and the samples (.cfl) belong together: copy both"
            raise FileError(f"there is no {file.name} next to {other.name}", where=str(path), hint=hint)
    dimensions = _read_dimensions(header)
    expected, stored = 8 * int(np.prod(dimensions, dtype=object)), samples.stat().st_size
    if expected != stored:
        shape = " x ".join(map(str, dimensions))
        what = f"{header.name} has {shape} samples, {expected} bytes; {samples.name} has {stored} bytes"
        kind = "cut" if stored < expected else "too long, or from a different array"
        raise DataError(what, where=str(samples), hint=f"the samples are {kind}: copy both files again")
    try:
        return np.memmap(samples, np.dtype("<c8"), "r", shape=tuple(reversed(dimensions)))
    except OSError as error:
        raise unreadable(error, samples) from None


def open_cfl_images(path: Path) -> list[NDArray[np.complex64]]:
    """The slices of an array of images, ``(frames, y, x)`` each.

    Raises
    ------
    FileError
        If one of the two files is missing or cannot be read.
    DataError
        If the array is damaged, or a dimension other than x, y, time and slices is larger than 1, e.g. that of coils.
    """
    stored = open_cfl(path)
    sizes = (*reversed(stored.shape), *[1] * (N_DIMENSIONS - stored.ndim))
    others = [number for number, size in enumerate(sizes) if size > 1 and number not in (READ, PHASE_1, TIME, SLICE)]
    if others:
        what = f"dimension {others[0]} of the array is {sizes[others[0]]}, but must be 1 for images"
        raise DataError(
            what, where=str(path), hint="combine the coils (3) first; choose one set of maps (4) with bart slice"
        )
    image = np.asarray(stored).reshape(sizes[SLICE], sizes[TIME], sizes[PHASE_1], sizes[READ])
    return list(image)


def holds_cfl_images(path: Path) -> bool:
    """Whether an array contains images written by this package, by a note in its header."""
    return set(IMAGE_NOTE) <= set(_read_lines(cfl_files(path)[0]))


def map_in_cfl(path: Path) -> str:
    """The quantity of a map written by this package; empty for other arrays."""
    return map_in_remarks(_read_lines(cfl_files(path)[0])) if holds_cfl_images(path) else ""


def _read_lines(header: Path) -> list[str]:
    """The lines of a header."""
    try:
        with header.open("rb") as file:
            return file.read(LARGEST_HEADER).decode("latin-1").splitlines()
    except OSError as error:
        raise unreadable(error, header) from None


def _read_dimensions(header: Path) -> tuple[int, ...]:
    """The sizes of the dimensions in a header, without trailing sizes of 1."""
    lines = _read_lines(header)
    number = next((number for number, line in enumerate(lines) if line.strip() == FIRST_LINE), None)
    if number is None or number + 1 >= len(lines):
        raise DataError(f"this is not a BART header: '{FIRST_LINE}' is missing", where=str(header))
    words = lines[number + 1].split()
    if not words or not all(word.isdecimal() and 1 <= int(word) <= LARGEST_SIZE for word in words):
        raise DataError(
            f"the dimensions are '{lines[number + 1][:60]}', expected sizes of at least 1", where=str(header)
        )
    sizes = [int(word) for word in words]
    if int(np.prod(sizes, dtype=object)) > LARGEST_SIZE:
        raise DataError(f"the dimensions are {' x '.join(words)}, which is larger than any scan", where=str(header))
    while len(sizes) > PHASE_1 + 1 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def write_cfl(
    path: Path,
    header: Path,
    parts: Iterable[NDArray[np.complex64]],
    shape: tuple[int, ...],
    dimensions: tuple[int, ...],
    note: str,
) -> None:
    """Write an array in parts, and its header.

    Parameters
    ----------
    path, header
        The files of samples and header; BART expects names that differ only in the suffix.
    parts
        ``(..., dimension 1, dimension 0)``, the array in parts along its first axis.
    shape
        Shape of the whole array.
    dimensions
        BART dimension of each axis, in descending order.
    note
        Text for the section ``# Creator`` of the header, which BART ignores.
    """
    sizes = [1] * N_DIMENSIONS
    for dimension, size in zip(dimensions, shape, strict=True):
        sizes[dimension] = size
    with path.open("wb") as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, "<c8").data)
    lines = [FIRST_LINE, " ".join(map(str, sizes)), "# Creator", *note.splitlines()]
    header.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_bart(path: Path, stack: list[CineImage]) -> None:
    """Write a stack of slices as complex64: x is dimension 0, y 1, frames 10, slices 13.

    The header is written next to the samples; it contains warnings and provenance as comments.
    """
    lines = [IMAGE_NOTE[0], stack[0].title, *IMAGE_NOTE[1:]]
    lines += [text for text in file_notes(stack) if text not in lines]
    header, _ = cfl_files(path)
    shape = (len(stack), *stack[0].image.shape)  # (slices, frames, y, x)
    parts = (cine.image for cine in each(stack))
    note = "\n".join(" ".join(line.split()) for line in lines)
    write_cfl(path, header, parts, shape, (SLICE, TIME, PHASE_1, READ), note)
