"""Plausibility of sizes and times of a cardiac scan, the same for all file formats.

Values that are impossible in a cardiac scan usually result from another unit. They are reported and used as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError

SMALLEST_FOV_MM, LARGEST_FOV_MM = 5.0, 1500.0
"""Smallest and largest possible field of view, even for small animals and with readout oversampling."""
SMALL_ANIMAL_MM = 60.0
"""Fields of view below this are of rodents, or in centimetres."""
SMALLEST_PIXEL_MM = 0.05
"""Smallest plausible pixel."""
CUT_OUT_PIXEL_MM = 0.5
"""Small images with pixels above this are cut out of larger ones, and not of small animals."""
THICKEST_SLICE_MM, THINNEST_SLICE_MM = 50.0, 0.1
"""Range of the slice thickness."""
SHORTEST_TR_MS, LONGEST_FRAME_MS = 0.5, 500.0
"""Shortest time between excitations, and longest between frames of a cine; a heartbeat takes about a second."""
SHORTEST_FRAME_MS = 2.0
"""Shortest time between frames, even for the heartbeat of a mouse."""
UNEVEN = 1.5
"""Ratio of the longest interval to the median above which a frame may be missing."""
LOWEST_VENC_CM_S, HIGHEST_VENC_CM_S = 5.0, 800.0
"""Range of the velocity encoding of blood and heart muscle; in aortic stenosis blood flows at up to 600 cm/s."""
MAX_NOT_ORTHONORMAL = 0.01
"""Largest deviation of the products of two directions from those of orthogonal unit vectors."""
SIMILAR_SLICES, SLICES_MARGIN = 0.9, 0.03
"""Correlation of adjacent slices above which they may be frames, and by how much more than that of frames."""


def require_memory(sizes: tuple[int, int, int, int], limit_gb: float, where: str) -> None:
    """Refuse a slice of k-space ``(frames, coils, ky, kx)`` that exceeds the memory limit.

    Raises
    ------
    DataError
        If it does.
    """
    frames, coils, ky, kx = sizes
    needed_gb = 8e-9 * prod(sizes)
    if needed_gb > limit_gb:
        size = f"{frames} frames x {coils} coils x {ky} x {kx}"
        what = f"k-space of a slice takes {needed_gb:.1f} GB ({size}), limit {limit_gb:g} GB"
        raise DataError(what, where=where, hint="--set preprocessing.memory_limit_gb=... raises the limit")


UNKNOWN_TIMES = "the times of the frames are unknown: the speed of movies is arbitrary"
NOT_ORTHONORMAL = "the directions are not orthonormal: images have no orientation"
EXCHANGED_SLICES = "adjacent slices are more similar than adjacent frames: these axes seem to be exchanged"


def with_plausibility_warnings(meta: CineMeta, matrix: Sequence[int], origin: str) -> CineMeta:
    """The metadata of images, with warnings about implausible frame times, pixel size and slice thickness.

    Parameters
    ----------
    meta
        The metadata of the images, which may be a part of the field of view.
    matrix
        Their numbers of pixels (y, x).
    origin
        Part of the file that contains the values, e.g. ``header``.
    """
    (y, x), (dy, dx) = matrix, meta.pixel_size_mm
    is_cut_out = min(dy, dx) > CUT_OUT_PIXEL_MM and max(y * dy, x * dx) <= LARGEST_FOV_MM
    warnings = (
        *(() if is_cut_out else size_warnings((y * dy, x * dx), meta.pixel_size_mm, origin)),
        *thickness_warnings(meta.slice_thickness_mm, origin),
        *frame_time_warnings(meta.frame_times_ms),
    )
    return replace(meta, warnings=(*meta.warnings, *warnings))


def size_warnings(
    fov_mm: tuple[float, float], pixel_size_mm: tuple[float, float], origin: str = "header"
) -> Iterator[str]:
    """A warning about an implausible field of view (y, x) or pixel size (y, x) [mm]."""
    fov = f"the field of view is {_short(fov_mm[1])} x {_short(fov_mm[0])} mm, pixels of {pixel_size_mm[1]:.2g} mm"
    if min(fov_mm) < SMALLEST_FOV_MM:
        yield f"{fov}: the {origin} is probably in metres, so sizes in the images are wrong"
    elif min(fov_mm) < SMALL_ANIMAL_MM:
        yield f"{fov}: this is a small animal, or the {origin} is in centimetres and sizes in the images are wrong"
    elif max(fov_mm) > LARGEST_FOV_MM:
        yield f"{fov}: larger than any scanner, so sizes in the images are wrong"
    elif min(pixel_size_mm) < SMALLEST_PIXEL_MM:
        yield f"{fov}: too small, the matrix or the field of view in the {origin} is wrong"


def thickness_warnings(thickness_mm: float, origin: str = "header") -> Iterator[str]:
    """A warning about an implausible slice thickness [mm]."""
    if not THINNEST_SLICE_MM <= thickness_mm <= THICKEST_SLICE_MM:
        yield f"slices are {_short(thickness_mm)} mm thick by the {origin}, which is implausible for the heart"


def thickness_or_default(thickness_mm: float | None, origin: str = "header") -> tuple[float, list[str]]:
    """A slice thickness [mm], or 1 mm with a warning if it is unknown."""
    if thickness_mm is not None and thickness_mm > 0:
        return thickness_mm, []
    return 1.0, [f"the {origin} has no slice thickness: 1 mm is assumed"]


def frame_time_warnings(times_ms: Sequence[float]) -> Iterator[str]:
    """A warning if the times of frames [ms] have a gap, or are implausible for a cardiac cine."""
    if len(times_ms) < 2:
        return
    intervals = np.diff(times_ms)
    middle = float(np.median(intervals))
    if not SHORTEST_FRAME_MS <= middle <= LONGEST_FRAME_MS:
        yield f"{_short(middle)} ms from frame to frame is unusual for a cardiac cine: check the unit of the times"
    elif len(intervals) > 2 and intervals.max() > UNEVEN * middle:
        n = int(intervals.argmax())
        interval = f"{intervals[n]:.0f} ms between frames {n} and {n + 1}"
        yield f"{interval}, elsewhere {middle:.0f} ms: a frame may be missing"


def tr_warnings(tr_ms: float | None) -> Iterator[str]:
    """A warning about an implausible TR [ms] in the header, which is the time between excitations or frames."""
    if tr_ms is not None and 0 < tr_ms < SHORTEST_TR_MS:
        yield f"TR is {tr_ms:.3g} ms in the header: it is probably in seconds, {1e3 * tr_ms:.4g} ms"
    elif tr_ms is not None and tr_ms > LONGEST_FRAME_MS:
        yield f"TR is {_short(tr_ms)} ms in the header, too long for a frame of a cine: frame times are wrong"


def venc_warnings(venc_cm_s: float) -> Iterator[str]:
    """A warning about an implausible velocity encoding [cm/s], with the probable unit."""
    if LOWEST_VENC_CM_S <= venc_cm_s <= HIGHEST_VENC_CM_S:
        return
    unit, factor = ("m/s", 100) if venc_cm_s < LOWEST_VENC_CM_S else ("mm/s", 0.1)
    yield (
        f"VENC is {venc_cm_s:g} cm/s, which is implausible for blood or the heart: it is probably {venc_cm_s:g} {unit} "
        f"and all velocities are wrong; --venc {factor * venc_cm_s:g} corrects them"
    )


def are_orthonormal(directions: NDArray[np.float64]) -> bool:
    """Whether directions ``(n, 3)`` are finite unit vectors that are perpendicular to each other."""
    if not np.isfinite(directions).all():
        return False
    return bool(np.abs(directions @ directions.T - np.eye(len(directions))).max() <= MAX_NOT_ORTHONORMAL)


def has_exchanged_slices(n_slices: int, n_frames: int, read_slice: Callable[[int, slice], NDArray[Any]]) -> bool:
    """Whether the axes of slices and frames of a file are exchanged, judged by two slices in its middle.

    They are if these slices are more alike than adjacent frames.

    Parameters
    ----------
    n_slices, n_frames
        Sizes of the two axes.
    read_slice
        Returns some frames of a slice, ``(frames, ...)``, images or k-space.
    """
    if min(n_slices, n_frames) < 2:
        return False
    middle = (n_slices - 1) // 2
    first, second = read_slice(middle, slice(0, 2))
    (next_slice,) = read_slice(middle + 1, slice(0, 1))
    slices = correlation(first, next_slice)
    return slices > SIMILAR_SLICES and correlation(first, second) < slices - SLICES_MARGIN


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Correlation of two parts of k-space or of images at the points that are not zero in both; 1 without any."""
    common = (first != 0) & (second != 0)
    first, second = (first * common).ravel(), (second * common).ravel()
    norm = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(abs(np.vdot(first, second))) / norm if norm > 0 else 1.0


def _short(value: float) -> str:
    """A number with three digits, or all digits before the point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
