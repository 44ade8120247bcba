"""Plausibility checks of the sizes, times and frames of cardiac scans, common to all file formats.

Implausible values are usually due to a wrong unit. They are reported, but not corrected. Frames that were not measured
or are derived from others are excluded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.words import name_frames

Reasons = Mapping[str, Sequence[int]]
"""Frame numbers by reason, e.g. ``{"empty": [8, 9]}``."""

SMALLEST_FOV_MM, LARGEST_FOV_MM = 5.0, 1500.0
"""Smallest and largest possible field of view, including small animals and readout oversampling [mm]."""
SMALL_ANIMAL_MM = 60.0
"""Field of view below which a scan is of a rodent, or the unit is centimetres [mm]."""
SMALLEST_PIXEL_MM = 0.05
"""Smallest plausible pixel size [mm]."""
CUT_OUT_PIXEL_MM = 0.5
"""Pixel size above which small images are cut out of larger ones and not of small animals [mm]."""
THICKEST_SLICE_MM, THINNEST_SLICE_MM = 50.0, 0.1
"""Range of plausible slice thickness [mm]."""
SHORTEST_TR_MS, LONGEST_FRAME_MS = 0.5, 500.0
"""Shortest time between excitations and longest time between frames of a cine [ms]."""
SHORTEST_FRAME_MS = 2.0
"""Shortest time between frames, including mice [ms]."""
SHORTEST_HUMAN_FRAME_MS, SHORTEST_RR_MS, LARGE_FOV_MM = 8.0, 250.0, 150.0
"""Shortest time between frames [ms] and shortest heartbeat [ms] of subjects with a large field of view [mm]. Converters
to NIfTI store TR as the time step, which is the time between excitations in files of some vendors."""
MAX_DARKEST, MAX_MARGIN = 0.25, 0.95
"""Largest ratios of the darkest pixel with signal and of the margin of an image to its bright pixels. In measured
cines, they are below 0.05 and 0.45."""
BRIGHT_PERCENTILE, MARGIN_PIXELS = 99.0, 3
"""Percentile of the bright pixels, and width of the margin [pixels]."""
UNEVEN = 1.5
"""Ratio of the longest to the median interval above which a frame may be missing."""
LOWEST_VENC_CM_S, HIGHEST_VENC_CM_S = 5.0, 800.0
"""Range of plausible VENC for blood and myocardium [cm/s]; velocities in aortic stenosis are up to 600 cm/s."""
MAX_NOT_ORTHONORMAL = 0.01
"""Largest deviation of the Gram matrix of directions from the identity matrix."""
SIMILAR_SLICES, SLICES_MARGIN = 0.9, 0.03
"""Correlation of adjacent slices above which they may be frames, and smallest excess over that of frames."""


def require_memory(sizes: tuple[int, int, int, int], limit_gb: float, where: str) -> None:
    """Check that k-space of a slice does not exceed the memory limit.

    Parameters
    ----------
    sizes
        Shape of k-space (frames, coils, ky, kx).
    limit_gb
        The limit [GB].
    where
        The file, for messages.

    Raises
    ------
    DataError
        If it exceeds the limit.
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
    """The metadata of images with warnings about implausible frame times, pixel size and slice thickness.

    Parameters
    ----------
    meta
        The metadata of the images, which may be cropped.
    matrix
        Matrix size (y, x).
    origin
        Part of the file that contains the values, for messages, e.g. ``header``.
    """
    (y, x), (dy, dx) = matrix, meta.pixel_size_mm
    is_cut_out = min(dy, dx) > CUT_OUT_PIXEL_MM and max(y * dy, x * dx) <= LARGEST_FOV_MM
    warnings = (
        *(() if is_cut_out else size_warnings((y * dy, x * dx), meta.pixel_size_mm, origin)),
        *thickness_warnings(meta.slice_thickness_mm, origin),
        *frame_time_warnings(meta.frame_times_ms),
        *_heartbeat_warnings(meta.frame_times_ms, max(y * dy, x * dx)),
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
        what = f"slices are {_short(thickness_mm)} mm thick according to the {origin}"
        yield f"{what}, which is implausible for the heart"


def thickness_or_default(thickness_mm: float | None, origin: str = "header") -> tuple[float, list[str]]:
    """A slice thickness [mm], or 1 mm with a warning if it is unknown."""
    if thickness_mm is not None and thickness_mm > 0:
        return thickness_mm, []
    return 1.0, [f"the {origin} has no slice thickness: 1 mm is assumed"]


def frame_time_warnings(times_ms: Sequence[float]) -> Iterator[str]:
    """A warning if frame times [ms] have a gap, or are implausible for a cardiac cine."""
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


def _heartbeat_warnings(times_ms: Sequence[float], fov_mm: float) -> Iterator[str]:
    """A warning if the frames of a large subject are so close to each other that their step is probably TR."""
    if len(times_ms) < 2:
        return
    middle = float(np.median(np.diff(times_ms)))
    duration = middle * len(times_ms)
    if SHORTEST_FRAME_MS <= middle < SHORTEST_HUMAN_FRAME_MS and duration < SHORTEST_RR_MS and fov_mm >= LARGE_FOV_MM:
        yield f"{len(times_ms)} frames in {_short(duration)} ms are less than a heartbeat: is the time step TR?"


def intensity_warnings(values: NDArray[Any]) -> Iterator[str]:
    """A warning if magnitudes ``(frames, y, x)``, not all zero, have an offset or are inverted."""
    bright = float(np.percentile(values, BRIGHT_PERCENTILE))
    darkest = float(values[values > 0].min())
    n = MARGIN_PIXELS
    margin = np.concatenate(
        [part.ravel() for part in (values[:, :n], values[:, -n:], values[..., :n], values[..., -n:])]
    )
    if darkest > MAX_DARKEST * bright:
        yield f"the darkest pixels have {darkest / bright:.0%} of the intensity of bright ones: was an offset added?"
    elif float(np.median(margin)) > MAX_MARGIN * bright > 0:
        yield "the margin of the images is as bright as the brightest tissue: are bright and dark exchanged?"


def tr_warnings(tr_ms: float | None) -> Iterator[str]:
    """A warning about an implausible TR [ms] in the header, which is the time between excitations or between frames."""
    if tr_ms is not None and 0 < tr_ms < SHORTEST_TR_MS:
        yield f"TR is {tr_ms:.3g} ms in the header: it is probably in seconds, {1e3 * tr_ms:.4g} ms"
    elif tr_ms is not None and tr_ms > LONGEST_FRAME_MS:
        yield f"TR is {_short(tr_ms)} ms in the header, too long for a frame of a cine: frame times are wrong"


def venc_warnings(venc_cm_s: float) -> Iterator[str]:
    """A warning about an implausible VENC [cm/s], with the probable unit."""
    if LOWEST_VENC_CM_S <= venc_cm_s <= HIGHEST_VENC_CM_S:
        return
    unit, factor = ("m/s", 100) if venc_cm_s < LOWEST_VENC_CM_S else ("mm/s", 0.1)
    yield (
        f"VENC is {venc_cm_s:g} cm/s, which is implausible for blood or the heart: it is probably {venc_cm_s:g} {unit} "
        f"and all velocities are wrong; --venc {factor * venc_cm_s:g} corrects them"
    )


def are_orthonormal(directions: NDArray[np.float64]) -> bool:
    """Whether directions ``(n, 3)`` are finite, orthogonal unit vectors."""
    if not np.isfinite(directions).all():
        return False
    return bool(np.abs(directions @ directions.T - np.eye(len(directions))).max() <= MAX_NOT_ORTHONORMAL)


def has_exchanged_slices(n_slices: int, n_frames: int, read_slice: Callable[[int, slice], NDArray[Any]]) -> bool:
    """Whether the axes of slices and frames in a file seem to be exchanged.

    This is assumed if two central slices are more similar than adjacent frames.

    Parameters
    ----------
    n_slices, n_frames
        Lengths of the two axes.
    read_slice
        Reads some frames of a slice, ``(frames, ...)``, either images or k-space.
    """
    if min(n_slices, n_frames) < 2:
        return False
    middle = (n_slices - 1) // 2
    first, second = read_slice(middle, slice(0, 2))
    (next_slice,) = read_slice(middle + 1, slice(0, 1))
    slices = correlation(first, next_slice)
    return slices > SIMILAR_SLICES and correlation(first, second) < slices - SLICES_MARGIN


def correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Correlation of k-space or images over points that are not zero in either array; 1 if there are none."""
    common = (first != 0) & (second != 0)
    first, second = (first * common).ravel(), (second * common).ravel()
    norm = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(abs(np.vdot(first, second))) / norm if norm > 0 else 1.0


def _short(value: float) -> str:
    """A number with three significant digits, or with all digits before the decimal point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def choose_frames(n_frames: int, missing: Reasons, redundant: Reasons, where: str) -> tuple[list[int], list[str]]:
    """The frames to keep, and warnings that name the others.

    Parameters
    ----------
    n_frames
        Number of frames in the file.
    missing
        Frames that were not measured, or only partly. They are excluded at the start and the end of a series, since
        archives pad series and scans are stopped early.
    redundant
        Frames that are derived from others, which are excluded at any position.
    where
        The file and the slice, for error messages.

    Raises
    ------
    DataError
        If frames are missing between others, or fewer than two remain.
    """
    frames = [n for n in range(n_frames) if not any(n in numbers for numbers in missing.values())]
    for what, numbers in missing.items():
        if inside := [n for n in numbers if frames and frames[0] < n < frames[-1]]:
            hint = "a cine needs data in every frame: remove the empty frames from the file"
            raise DataError(f"{name_frames(inside)} of {n_frames}: {what}", where=where, hint=hint)
    frames = [n for n in frames if not any(n in numbers for numbers in redundant.values())]
    reasons = [(what, numbers) for what, numbers in (*missing.items(), *redundant.items()) if numbers]
    if len(frames) < 2 <= n_frames:
        counts = ", ".join(f"{len(numbers)} {what}" for what, numbers in reasons)
        raise DataError(f"a cine needs several frames: of {n_frames}, {counts}", where=where)
    return frames, [f"{name_frames(numbers)} of {n_frames} left out: {what}" for what, numbers in reasons]
