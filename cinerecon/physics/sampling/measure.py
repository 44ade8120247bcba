"""Measures of sampling masks: acceleration, extent, central lines, and the lines of k-space that contain signal."""

from typing import TYPE_CHECKING, Literal, Union

import numpy as np

from cinerecon.axes import centre_slice
from cinerecon.cine_meta import Extent
from cinerecon.physics.sampling.drawing import Flags
from cinerecon.words import counted

if TYPE_CHECKING:
    from torch import Tensor

    from cinerecon.cine import CineData

Mask = Union[Flags, "Tensor"]
"""A mask as drawn, or as in `CineData`, on any device."""

EVEN_DENSITY_RATIO = 0.85
"""Ratio of outer to inner density of k-space, above which the density of a pattern does not decrease outwards."""
MIN_POSITIONS = 8
"""Number of sampled positions opposite an empty edge that occurs by chance in less than 1 of 1000 patterns."""

SamplingKind = Literal["points", "lines", "same lines", "changing lines"]
MIN_DENSITY = 0.8
"""Smallest sampled fraction of a calibration region: random gaps at its border are harmless, regular gaps are not."""
MIN_RELIABLE_LINES = 6
"""Number of lines of a calibration region below which maps are unreliable."""


def as_flags(mask: Mask) -> Flags:
    """A mask as NumPy array."""
    return mask if isinstance(mask, np.ndarray) else np.asarray(mask.cpu())


def net_acceleration(mask: Mask, *, without: slice | None = None) -> float:
    """Points of k-space divided by sampled points, over all frames.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    without
        Lines of ky that are excluded, e.g. the ACS lines. If no other line or sampled point remains, the result is 1.
    """
    counted = np.ones(mask.shape[-2], dtype=bool)
    if without is not None:
        counted[without] = False
    rest = as_flags(mask)[..., counted, :]
    n_sampled = int(rest.sum())
    return rest.size / n_sampled if n_sampled else 1.0


def scan_acceleration(mask: Mask, extent: Extent | None = None) -> tuple[float, float]:
    """Acceleration of a scan, and the same without the central lines that every frame samples.

    The acceleration is the ratio of points to sampled points within the extent that the scan covers: omitted edges of
    k-space (asymmetric echo, partial Fourier, phase resolution below 100 %) reduce resolution and are not counted as
    acceleration.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)``
    extent
        The ky and kx that the scan covers, if known, e.g. from the scan before it was undersampled; None: see
        `measured_extent`.
    """
    mask = as_flags(mask)
    rows, columns = extent or measured_extent(mask)
    columns = columns if mask.shape[-1] > 1 else slice(None)
    measured, acs = mask[..., rows, columns], acs_block(mask[..., columns])
    first = rows.start or 0
    without = slice(acs.start - first, acs.stop - first) if acs.start < acs.stop else None
    return net_acceleration(measured), net_acceleration(measured, without=without)


def acceleration_of(data: "CineData") -> tuple[float, float]:
    """Acceleration of a slice as in `scan_acceleration`, over the extent given by its metadata."""
    return scan_acceleration(data.mask, data.meta.extent)


def measured_extent(mask: Mask) -> Extent:
    """The ranges of ky and kx that a scan covers, from its mask ``(*batch, frames, 1, ky, kx or 1)``.

    Edges that no frame samples are outside the extent in two cases; otherwise, a sparse pattern missed them by chance.
    Either the edge is wider than twice the widest gap of a pattern that samples most of the axis with uniform density;
    or the opposite edge, at the same distance from the centre, contains many samples (asymmetric echo and partial
    Fourier of patterns with decreasing density). A mask with one column covers the whole readout.
    """
    frames = _all_frames(mask)
    return _extent(frames), _extent(frames.swapaxes(1, 2)) if mask.shape[-1] > 1 else slice(None)


def _all_frames(mask: Mask) -> Flags:
    """``(*batch, frames, 1, ky, kx or 1)`` as ``(frames of all slices, ky, kx or 1)``."""
    return as_flags(mask).reshape(-1, *mask.shape[-2:])


def _extent(sampled: Flags) -> slice:
    """The extent along the first axis of k-space, of ``(frames, n, other axis)``."""
    positions, n = np.flatnonzero(sampled.any((0, 2))), sampled.shape[1]
    if len(positions) < 2:
        return slice(0, n)
    first, end = int(positions[0]), int(positions[-1]) + 1
    if 2 * (end - first) < n:
        return slice(0, n)
    by_chance = n if _density_decreases(sampled[:, first:end]) else 2 * (int(np.diff(positions).max()) - 1)
    n_opposite_first = int((positions > 2 * (n // 2) - first).sum())
    n_opposite_end = int((positions <= 2 * (n // 2) - end).sum())
    starts_later = first > by_chance or n_opposite_first >= MIN_POSITIONS
    ends_earlier = n - end > by_chance or n_opposite_end >= MIN_POSITIONS
    return slice(first if starts_later else 0, end if ends_earlier else n)


def _density_decreases(sampled: Flags) -> bool:
    """Whether the outer quarters of ``(frames, n, other axis)`` have clearly fewer samples than the inner half.

    The most densely sampled positions, which are the lines sampled in all frames, are excluded.
    """
    share = sampled.mean((0, 2))
    quarter = len(share) // 4
    is_outer = np.ones(len(share), dtype=bool)
    is_outer[quarter : len(share) - quarter] = False
    is_counted = share < share.max()
    outer, inner = share[is_outer & is_counted], share[~is_outer & is_counted]
    if not len(inner) or not len(outer):
        return len(outer) > 0
    return bool(outer.mean() < EVEN_DENSITY_RATIO * inner.mean())


def acs_block(mask: Mask) -> slice:
    """The ky lines around ky // 2 that every frame samples."""
    always = np.asarray(_all_frames(mask).all((0, 2)))
    first = last = len(always) // 2
    while last < len(always) and always[last]:
        last += 1
    while last > len(always) // 2 and first > 0 and always[first - 1]:
        first -= 1
    return slice(first, last)


def count_acs(mask: Mask) -> int:
    """The number of central ky lines that every frame samples."""
    block = acs_block(mask)
    return int(block.stop) - int(block.start)


def samples_whole_readouts(mask: Mask) -> bool:
    """Whether ``(*batch, frames, 1, ky, kx or 1)`` is the same for every kx, as a Cartesian scanner acquires it."""
    flags = as_flags(mask)
    return bool((flags == flags[..., :1]).all())


def sampling_kind(mask: Mask) -> SamplingKind:
    """The kind of a mask ``(frames, 1, ky, kx or 1)``; ``lines`` for a single frame."""
    if not samples_whole_readouts(mask):
        return "points"
    if len(mask) == 1:
        return "lines"
    flags = as_flags(mask)
    return "same lines" if (flags == flags[:1]).all() else "changing lines"


def block_of_lines(mask: Mask) -> tuple[int, int] | None:
    """First and last row of a fully sampled scan; None if it is undersampled.

    Fully sampled means that all frames measure the same block of adjacent lines around the centre, over at least
    half of the grid: phase resolution below 100 % and partial Fourier measure fewer lines, but skip none.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)``
    """
    flags = as_flags(mask)
    if not (flags == flags[:1]).all():
        return None
    sampled = flags[0, 0]
    rows = sampled.any(-1)
    if not (sampled == (rows[:, None] & sampled.any(-2))).all():
        return None
    lines = np.flatnonzero(rows)
    if not len(lines):
        return None
    first, last = int(lines[0]), int(lines[-1])
    is_block = last - first + 1 == len(lines) and first <= len(rows) // 2 <= last
    return (first, last) if is_block and 2 * len(lines) >= len(rows) else None


def calibration_size(mask: Mask, n_x: int) -> tuple[int, int]:
    """The largest central region (ky, kx) that the frames together sample densely, in all slices of a batch.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.
    n_x
        Number of points along kx.
    """
    sampled = as_flags(mask).any(-4).reshape(-1, *mask.shape[-2:]).mean(0)  # (ky, kx or 1)
    n_y, whole_readouts = sampled.shape[0], bool((sampled == sampled[:, :1]).all())
    for lines in range(n_y, 0, -1):
        columns = n_x if whole_readouts else max(1, round(lines / n_y * n_x))
        centre = sampled[centre_slice(n_y, lines), centre_slice(sampled.shape[1], columns)]
        if centre.mean() >= MIN_DENSITY:
            return lines, columns
    return 1, n_x


def csm_warning(mask: Mask, n_x: int) -> str | None:
    """A warning if the maps of several coils are estimated from too few lines; None if there are enough.

    The parameters are those of `calibration_size`.
    """
    n_y, _ = calibration_size(mask, n_x)
    if n_y >= min(MIN_RELIABLE_LINES, mask.shape[-2]):
        return None
    return f"coil maps come from {counted(n_y, 'central line')}: do not trust the image; acquire or keep ACS lines"
