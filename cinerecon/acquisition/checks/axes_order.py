"""Checks of the axes of gridded k-space: their order, and the centre of k-space.

A wrong order of the axes, or k-space that is not centred, can be detected only from the samples.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.checks.cartesian import AXES
from cinerecon.acquisition.checks.stored_kspace import StoredSlice
from cinerecon.acquisition.readouts.grid import LARGEST_CENTRE_ERROR
from cinerecon.acquisition.readouts.subset import CENTRE_TOLERANCE, PEAK_POWER_RATIO
from cinerecon.axes import centre_slice
from cinerecon.errors import DataError
from cinerecon.io.plausibility import correlation
from cinerecon.physics.fourier import ifft2c

ReadSlice = Callable[[int, slice], NDArray[np.complex64]]
"""Returns k-space of some frames of a slice, ``(frames, coils, ky, kx)``."""

SIMILAR_COILS, CORRELATION_MARGIN = 0.9, 0.1
"""Correlation of adjacent coils above which they may be frames, and smallest excess over the correlation of frames."""
COMPARED_SIZE, SMALLEST_COMPARED = 64, 32
"""Number of central lines and columns whose images are compared, and smallest matrix with enough details."""
MAX_COMPARED = 4
"""Largest number of slices and of coils that are compared."""
COMPARED_FRAMES = slice(0, 8)
"""Number of frames that are averaged; it is small because files may be compressed."""
N_SMOOTHINGS = 2
"""Number of smoothing passes, over three pixels each, of the image by which another image is divided."""
DETAILS_MARGIN, COPIES = 0.25, 0.999
"""Difference between the correlations of details above which the axes of slices and coils are exchanged (in measured
images at least 0.3 if they are, below -0.3 if not), and correlation above which slices are copies of each other."""
EXCHANGED_COILS = "slices show the same details, but coils of a slice do not: these axes seem to be exchanged"
KSPACE_SLICES = (
    "slices have a peak in the middle of their axis, as k-space along ky and kx: the axes seem to be exchanged"
)
COILS_AS_SLICES = "all {} slices show the same details, as coils or frames of one slice do"
SAME_DETAILS, SAME_DETAILS_OF_TWO = 0.6, 0.8
"""Correlation of details above which slices are coils of one slice: 0.67 to 0.95 for coils, at most 0.35 for slices,
and at most 0.7 for two adjacent slices."""
FRAMES_MARGIN = 0.2
"""Difference between the correlations of details of adjacent slices and of adjacent frames above which these axes are
exchanged; in measured images at least 0.25 if they are, below -0.2 if not."""
MIN_COMMON_FRACTION = 0.9
"""Smallest fraction of the centre of k-space that frames must share for their details to be compared."""
SMALLEST_KSPACE_AXIS, N_MIDDLE = 16, 1
"""Smallest size of an axis that may be ky or kx, and distance from its middle up to which k-space has its maximum."""
PEAKED, PEAKED_RATIO = 12.0, 4.0
"""Ratio of the power in the middle of an axis to that of its outer halves above which it is ky or kx, and by how much
it must exceed that of the axis that is named ky or kx; at most 3 along frames and coils of intact arrays."""
MAX_SAMPLE_SHARE = 0.9
"""Largest fraction of the energy of the strongest line, over frames and coils, in one sample; spikes have more."""
TINY = float(np.finfo(np.float32).tiny)


def centre_warnings(stored: StoredSlice) -> Iterator[str]:
    """Compare the position of the strongest line along ky and kx with the middle; warn about a small difference.

    Raises
    ------
    DataError
        If the zero frequency is not in the middle of an axis.
    """
    shape, where = stored.kspace.shape, stored.where
    peaks = {dim: _clear_peak(stored.kspace, stored.mask, dim) for dim in AXES}
    at_end = [AXES[dim] for dim, peak in peaks.items() if peak is not None and _is_at_end(peak, shape[dim])]
    for dim, name in AXES.items():
        peak, n = peaks[dim], shape[dim]
        if peak is None:
            continue
        middle = n // 2
        if name in at_end:
            what = f"k-space is not centred: along {name} its maximum is at index {peak} of {n}, expected {middle}"
            hint = f"kspace = np.fft.fftshift(kspace, axes=({', '.join(at_end)})) moves zero frequency to the middle"
            raise DataError(what, where=where, hint=hint)
        what = f"along {name} the maximum of k-space is at index {peak} of {n}, expected in the middle, at {middle}"
        if abs(peak - middle) > LARGEST_CENTRE_ERROR * n:
            hint = (
                "are the axes named in the right order? If an axis was measured only partly, fill it with zeros "
                f"around {middle}"
            )
            raise DataError(what, where=where, hint=hint)
        yield what


def _clear_peak(kspace: Tensor, mask: Tensor, dim: int) -> int | None:
    """Index of the strongest line along an axis; None if it is near the middle, not clearly stronger, or a spike."""
    n, others = kspace.shape[dim], [axis for axis in range(4) if axis != 4 + dim]
    n_sampled = mask.expand(-1, 1, -1, kspace.shape[-1]).sum(others).clamp_min(1)
    coils = (torch.view_as_real(coil).square().sum(-1)[:, None] for coil in kspace.unbind(1))
    power = reduce(torch.add, (coil.sum(others, dtype=torch.float64) for coil in coils)) / n_sampled
    peak, middle = int(power.argmax()), n // 2
    at_middle = float(power[max(middle - 1, 0) : middle + 2].max())
    is_clear = abs(peak - middle) > CENTRE_TOLERANCE and float(power[peak]) > PEAK_POWER_RATIO * at_middle
    return peak if is_clear and not _is_spike(kspace.select(dim, peak)) else None


def _is_spike(line: Tensor) -> bool:
    """Whether a single sample has nearly all energy of a line in all frames and coils."""
    power = torch.view_as_real(line).square().sum(-1)
    return line[..., 0].numel() > 1 and float(power.max()) > MAX_SAMPLE_SHARE * float(power.sum(dtype=torch.float64))


def _is_at_end(peak: int, n: int) -> bool:
    return min(peak, n - peak) <= min(CENTRE_TOLERANCE, n // 8)


def require_peaks(stored: StoredSlice) -> None:
    """Refuse arrays whose power has a peak in the middle along frames or coils, but not along ky or kx.

    Raises
    ------
    DataError
        If ky or kx is exchanged with frames or coils.
    """
    peaks = dict(zip(("frames", "coils", "ky", "kx"), map(_peak_ratio, _mean_powers(stored.kspace)), strict=True))
    flat = min(("ky", "kx"), key=lambda name: peaks[name])
    for axis, name in enumerate(("frames", "coils")):
        is_long = stored.kspace.shape[axis] >= SMALLEST_KSPACE_AXIS
        if is_long and peaks[name] > max(PEAKED, PEAKED_RATIO * peaks[flat]):
            what = f"k-space has its peak in the middle of the axis of {name}, but none along {flat}"
            raise DataError(f"{what}: these axes seem to be exchanged", where=stored.where, hint=stored.order_hint)


def has_kspace_slices(n_slices: int, n_frames: int, read_slice: ReadSlice) -> bool:
    """Whether slices have a peak of power in the middle of their axis, unlike ky or kx, so that these are exchanged.

    Frames in the middle of three central and some outer slices are read. Parameters are those of
    `has_exchanged_frames`.
    """
    if n_slices < SMALLEST_KSPACE_AXIS:
        return False
    middle = n_slices // 2
    outer = [*range(0, n_slices // 4, 3), *range(n_slices - 1, middle + n_slices // 4, -3)]
    frames = slice(n_frames // 2, n_frames // 2 + 2)
    slices = {n: torch.from_numpy(read_slice(n, frames)) for n in (middle - 1, middle, middle + 1, *outer)}
    power = torch.full((n_slices,), torch.nan, dtype=torch.float64)
    for number, kspace in slices.items():
        power[number] = kspace.abs().square().sum(dtype=torch.float64) / kspace.count_nonzero()
    flat = min(map(_peak_ratio, _mean_powers(slices[middle])[2:]))
    return _peak_ratio(power) > max(PEAKED, PEAKED_RATIO * flat)


def _mean_powers(kspace: Tensor) -> list[Tensor]:
    """Mean power of the nonzero samples along each axis of ``(frames, coils, ky, kx)``; NaN where there are none."""
    sums = [torch.zeros(n, dtype=torch.float64) for n in kspace.shape]
    counts = [torch.zeros(n, dtype=torch.float64) for n in kspace.shape]
    for number, coil in enumerate(kspace.unbind(1)):
        power = torch.view_as_real(coil).square().sum(-1)
        for total, values in ((sums, power), (counts, power != 0)):
            lines = values.sum(2, dtype=torch.float64)  # (frames, ky)
            total[0] += lines.sum(1)
            total[1][number] = lines.sum()
            total[2] += lines.sum(0)
            total[3] += values.sum((0, 1), dtype=torch.float64)
    return [total / n for total, n in zip(sums, counts, strict=True)]


def _peak_ratio(power: Tensor) -> float:
    """Ratio of the mean power in the middle of an axis to the median in its outer halves; 0 if that is unknown."""
    distance = (torch.arange(len(power)) - len(power) // 2).abs()
    middle, outer = power[distance <= N_MIDDLE].nanmean(), power[distance >= len(power) / 4].nanmedian()
    return float(middle / outer) if outer > 0 else 0.0


def require_order(stored: StoredSlice) -> None:
    """Refuse exchanged axes of coils and frames, for which coils resemble each other more than frames do.

    Raises
    ------
    DataError
        If the axes are exchanged.
    """
    kspace = stored.kspace
    if min(kspace.shape[:2]) < 2:
        return
    coils = min(correlation(first, second) for first, second in pairwise(kspace[0].numpy()))
    frames = max(correlation(first, second) for first, second in pairwise(kspace[:, 0].numpy()))
    if coils > SIMILAR_COILS and frames < coils - CORRELATION_MARGIN:
        what = f"adjacent coils are more similar (correlation {coils:.2f}) than adjacent frames ({frames:.2f})"
        raise DataError(f"{what}: these axes seem to be exchanged", where=stored.where, hint=stored.order_hint)


def require_readouts(stored: StoredSlice) -> None:
    """Refuse a mask that omits inner columns of kx at all ky, which no Cartesian sequence does.

    Raises
    ------
    DataError
        If such columns are missing.
    """
    mask = stored.mask
    columns = mask.any(2)
    is_alike = bool((mask == columns[:, :, None]).all())
    steps = columns[:, 0].int().diff(dim=-1).ne(0).sum(-1) if columns.shape[-1] > 1 else torch.zeros(1)
    if is_alike and int(steps.max()) > 2:
        what = "the pattern skips columns of kx but no line of ky: these axes seem to be exchanged"
        raise DataError(what, where=stored.where, hint=stored.order_hint)


def has_exchanged_coils(n_slices: int, n_coils: int, matrix: tuple[int, int], read_slice: ReadSlice) -> bool:
    """Whether the axes of slices and coils of a file are exchanged, determined from its first slices.

    Parameters
    ----------
    n_slices, n_coils
        Sizes of the two axes.
    matrix
        Number of rows and columns of the images.
    read_slice
        Reads slices, see `ReadSlice`.
    """
    if min(n_slices, n_coils) < 2 or min(matrix) < SMALLEST_COMPARED:
        return False
    images = [central_images(read_slice(number, COMPARED_FRAMES)) for number in range(min(n_slices, MAX_COMPARED))]
    return are_slices_coils(np.stack(images))


def has_coils_as_slices(n_slices: int, n_coils: int, matrix: tuple[int, int], read_slice: ReadSlice) -> bool:
    """Whether the slices of a file with one coil are coils or frames of one slice, determined from some of them.

    Parameters are those of `has_exchanged_coils`.
    """
    if n_slices < 2 or n_coils > 1 or min(matrix) < SMALLEST_COMPARED:
        return False
    numbers = np.unique(np.linspace(0, n_slices - 1, MAX_COMPARED).round().astype(int))
    images = np.stack([central_images(read_slice(int(number), COMPARED_FRAMES)) for number in numbers])
    details, smooth = _details(images.swapaxes(0, 1))
    return COPIES > _similarity(details, smooth) > (SAME_DETAILS if n_slices > 2 else SAME_DETAILS_OF_TWO)


def has_exchanged_frames(n_slices: int, n_frames: int, matrix: tuple[int, int], read_slice: ReadSlice) -> bool:
    """Whether adjacent slices show the same details while adjacent frames do not, so that these axes are exchanged.

    Two slices in the middle are compared if their frames were measured at the same central points.

    Parameters
    ----------
    n_slices, n_frames
        Sizes of the two axes.
    matrix
        Number of rows and columns of the images.
    read_slice
        See `has_exchanged_coils`.
    """
    if min(n_slices, n_frames) < 2 or min(matrix) < SMALLEST_COMPARED:
        return False
    number = (n_slices - 1) // 2
    first, second = read_slice(number, slice(0, 2))
    parts = [first, second, *read_slice(number + 1, slice(0, 1))]  # (coils, ky, kx) each
    rows, columns = (centre_slice(n, COMPARED_SIZE) for n in first.shape[-2:])
    is_measured = np.stack([(part[..., rows, columns] != 0).any(0) for part in parts])
    if is_measured.all(0).sum() < MIN_COMMON_FRACTION * is_measured.any(0).sum():
        return False
    details, smooth = _details(np.stack([central_images(part[None]) for part in parts], 1))  # (coils, parts, y, x)
    of_frames, of_slices = (_similarity(details[:, pair], smooth[:, pair]) for pair in ([0, 1], [0, 2]))
    return COPIES > of_slices > of_frames + FRAMES_MARGIN


def central_images(kspace: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Magnitude coil images from the centre of k-space of a slice, averaged over its frames, ``(coils, y, x)``.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    """
    rows, columns = (centre_slice(n, COMPARED_SIZE) for n in kspace.shape[-2:])
    centre = kspace[:, :MAX_COMPARED, rows, columns]
    n_measured = (centre != 0).any(1).sum(0)
    average = torch.from_numpy(centre.sum(0) / np.maximum(n_measured, 1))
    return np.asarray(ifft2c(average).abs().numpy(), np.float32)


def are_slices_coils(images: NDArray[np.float32]) -> bool:
    """Whether slices show the same details while coils do not. All coils receive one object, so the axes are exchanged.

    Details are the ratio of an image to a smoothed version of it, in which the sensitivity of the coil cancels.

    Parameters
    ----------
    images
        ``(slices, coils, y, x)`` magnitude images, see `central_images`.
    """
    details, smooth = _details(images)
    of_coils = _similarity(details, smooth)
    of_slices = _similarity(details.swapaxes(0, 1), smooth.swapaxes(0, 1))
    return COPIES > of_slices > of_coils + DETAILS_MARGIN


def _details(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ratio of images to smoothed versions of them, minus 1, and the smoothed images."""
    smooth: NDArray[Any] = images
    for axis in (-2, -1) * N_SMOOTHINGS:
        smooth = (np.roll(smooth, 1, axis) + 2 * smooth + np.roll(smooth, -1, axis)) / 4
    return np.divide(images, smooth, out=np.ones_like(images), where=smooth > 0) - 1, smooth


def _similarity(details: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Mean correlation of details over all pairs along the second axis of ``(n, images, y, x)``."""
    values = [
        float((w * w2 * d * d2).sum() / np.sqrt(max((w * w2 * d**2).sum() * (w * w2 * d2**2).sum(), TINY)))
        for images, factors in zip(details, weights, strict=True)
        for (d, w), (d2, w2) in combinations(zip(images, factors, strict=True), 2)
    ]
    return float(np.mean(values))
