"""Sizes and times that no scan of a heart has: the header has them in another unit, most often."""

from collections.abc import Iterator

from cinerecon.acquisition.counters import Warn
from cinerecon.acquisition.grid import Grid
from cinerecon.io.ismrmrd.header import MrdHeader

SMALLEST_FOV_MM, LARGEST_FOV_MM = 5.0, 3000.0
"""No animal with a heart is smaller, and no magnet is wider, with the readout's oversampling."""
SMALL_ANIMAL_MM = 60.0
"""Fields of view below this are those of mice and rats, or of patients in centimetres."""
SMALLEST_PIXEL_MM = 0.05
"""Pixels below this have no signal."""
THICKEST_SLICE_MM, THINNEST_SLICE_MM = 50.0, 0.1
SHORTEST_TR_MS, LONGEST_TR_MS = 0.5, 500.0
"""Between excitations at the least, and between the frames of a cine at the most; a heartbeat takes a second."""


def warn_of_implausible_sizes(header: MrdHeader, grid: Grid, warn: Warn) -> None:
    """Warn of sizes and times out of the range of all scans of hearts.

    Parameters
    ----------
    header
        The header, with the reconstructed encoding first.
    grid
        The image's grid.
    warn
        Called with each value and the unit it is probably in.
    """
    for text in (*_sizes(header, grid), *_times(header)):
        warn(text)


def _sizes(header: MrdHeader, grid: Grid) -> Iterator[str]:
    fov_x, fov_y, _ = header.encodings[0].recon.fov_mm
    fov = f"the field of view is {fov_x:.3g} x {fov_y:.3g} mm, pixels of {grid.pixel_size_mm[1]:.2g} mm"
    if min(fov_x, fov_y) < SMALLEST_FOV_MM:
        yield f"{fov}: the header is probably in metres, and sizes in the images are wrong"
    elif min(fov_x, fov_y) < SMALL_ANIMAL_MM:
        yield f"{fov}: this is a small animal, or the header is in centimetres and sizes in the images are wrong"
    elif max(fov_x, fov_y) > LARGEST_FOV_MM:
        yield f"{fov}: no scanner is as wide, sizes in the images are wrong"
    elif min(grid.pixel_size_mm) < SMALLEST_PIXEL_MM:
        yield f"{fov}: no scan resolves them, the matrix or the field of view in the header is wrong"
    thickness = header.encodings[0].recon.fov_mm[2]
    if thickness > 0 and not THINNEST_SLICE_MM <= thickness <= THICKEST_SLICE_MM:
        yield f"slices are {thickness:.3g} mm thick by the header: no 2-D slice of a heart is"


def _times(header: MrdHeader) -> Iterator[str]:
    tr_ms = header.tr_ms
    if tr_ms is not None and 0 < tr_ms < SHORTEST_TR_MS:
        yield f"TR is {tr_ms:.3g} ms in the header: it is probably in seconds, {1e3 * tr_ms:.4g} ms"
    elif tr_ms is not None and tr_ms > LONGEST_TR_MS:
        yield f"TR is {tr_ms:.4g} ms in the header: no frame of a cine takes as long; frame times are wrong"
