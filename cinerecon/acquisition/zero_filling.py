"""K-space that was zero-filled to a finer matrix, as scanners do to interpolate images.

The slice is reconstructed on the measured matrix, and the image is interpolated to the size of the zero-filled matrix
(`physics.final_image`). K-space with empty corners, as after an elliptical filter, keeps them as samples of zero: its
readouts were measured completely, and the image that it describes has no signal there.
"""

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.physics.sampling import measured_extent

CORNER_TOLERANCE = 1e-3
"""Largest fraction of points that may differ from readouts with empty corners."""
MAX_ASYMMETRY = 0.1
"""Largest difference between the measured lines on the two sides of the centre, relative to their number."""
BAND_FRACTION = 0.05
"""Width of the band at each edge of a pattern, relative to its extent, whose samples are counted."""
MIN_BAND_SAMPLES = 16
"""Number of samples in such a band above which the next band is empty in less than 1 of 1000 patterns, even if their
density falls by half from one band to the next."""


def measured_matrix(mask: Tensor, n_columns: int) -> tuple[int, int]:
    """Size (ky, kx) of the centred matrix to which k-space was zero-filled; the whole matrix if it was not.

    Readouts end where their samples do. The lines of a random pattern may be missing at the edges of ky by chance; they
    are regarded as zero-filled if `measured_extent` excludes both edges, if the lines end abruptly, or if they are
    outside the part that corresponds to zero-filled readouts. Even sizes remain even.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)`` bool.
    n_columns
        Number of columns of k-space.
    """
    n_rows, points = mask.shape[-2], mask[:, 0]
    all_columns = points.flatten(0, 1).any(0)
    is_whole = bool((points == (points.any(-1, keepdim=True) & all_columns)).all())
    if mask.shape[-1] == 1:
        columns = n_columns
    elif is_whole:
        columns, _ = _sides_of(all_columns)
    else:
        columns = _zero_filled_size(points.mT, measured_extent(mask)[1])
    if is_whole:
        isotropic = _like(n_rows, round(n_rows * columns / n_columns))
        if _sides_of(points.any(-1).any(0))[0] <= isotropic < n_rows:
            return isotropic, columns
        points = points.any(-1, keepdim=True)
    return _zero_filled_size(points, measured_extent(mask)[0]), columns


def _zero_filled_size(points: Tensor, extent: slice) -> int:
    """Number of lines of ``(frames, n, other axis)`` without those that were zero-filled, given the measured extent."""
    n = points.shape[1]
    size, is_symmetric = _sides_of(points.any(-1).any(0))
    is_filled = _both_sides(extent, n) < n or (points.shape[-1] == 1 and _ends_abruptly(points[..., 0]))
    return size if is_symmetric and is_filled else n


def _like(n: int, size: int) -> int:
    """The smallest size of the same parity as n that is not smaller, at most n."""
    return min(size + (n - size) % 2, n)


def _both_sides(extent: slice, n: int) -> int:
    """Size of the smallest centred part of n points that contains an extent."""
    first, end, _ = extent.indices(n)
    centre = n // 2
    return _like(n, 2 * max(centre - first, end - 1 - centre) + (1 if n % 2 or end - centre > centre - first else 0))


def _sides_of(sampled: Tensor) -> tuple[int, bool]:
    """Size of the smallest centred part that contains all samples ``(n,)``, and whether they fill both of its sides."""
    n, positions = len(sampled), sampled.nonzero().ravel()
    if not len(positions):
        return n, False
    first, end = int(positions[0]), int(positions[-1]) + 1
    size = _both_sides(slice(first, end), n)
    return size, size - (end - first) <= max(MAX_ASYMMETRY * size, 1)


def _ends_abruptly(lines: Tensor) -> bool:
    """Whether both outermost bands of lines ``(frames, ky)`` have too many samples for a density that falls to zero.

    Frames with the same lines count once, since they were not drawn independently.
    """
    counts = lines.unique(dim=0).sum(0)
    positions = counts.nonzero().ravel()
    if not len(positions):
        return False
    counts = counts[int(positions[0]) : int(positions[-1]) + 1]
    width = max(2, round(BAND_FRACTION * len(counts)))
    return int(min(counts[:width].sum(), counts[-width:].sum())) >= MIN_BAND_SAMPLES


def crop_zero_filling(kspace: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, list[str]]:
    """K-space and mask on the measured matrix, and a warning if they are smaller.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``

    Returns
    -------
    K-space and mask, with one column in the mask if complete readouts were measured; and warnings.
    """
    stored = kspace.shape[-2], kspace.shape[-1]
    mask = fill_corners(mask)
    matrix = measured_matrix(mask, stored[1])
    if matrix == stored:
        return kspace, whole_readouts(mask), []
    kspace, mask = centre_crop(kspace, matrix).clone(), centre_crop(mask, matrix)
    text = (
        f"k-space of {stored[0]} x {stored[1]} (ky x kx) was measured only in its central {matrix[0]} x {matrix[1]}: "
        "the slice is reconstructed at this resolution, and the image is interpolated"
    )
    return kspace, whole_readouts(mask), [text]


def whole_readouts(mask: Tensor) -> Tensor:
    """The mask ``(frames, 1, ky, kx or 1)`` with one column if complete readouts were measured."""
    lines = mask.any(-1, keepdim=True)
    return lines if bool((mask == lines).all()) else mask


def fill_corners(mask: Tensor) -> Tensor:
    """The mask ``(frames, 1, ky, kx or 1)`` with complete readouts if only the corners of k-space are missing."""
    if mask.shape[-1] == 1 or not has_empty_corners(mask[:, 0]):
        return mask
    return whole_readouts(mask.any(-1, keepdim=True) & mask.flatten(0, 2).any(0))


def has_empty_corners(has_signal: Tensor) -> bool:
    """Whether the empty points of the lines with signal are the corners of k-space.

    The part of each line with signal is then the same in all frames, symmetric about the centre, and shorter the
    farther the line is from the centre.

    Parameters
    ----------
    has_signal
        ``(frames, ky, kx)`` bool.
    """
    lines, region = has_signal.any(-1), has_signal.any(0)
    n_different = int((has_signal != (lines[..., None] & region)).sum())
    if n_different > CORNER_TOLERANCE * int(has_signal.sum()):
        return False
    distance = torch.arange(region.shape[0], device=region.device) - region.shape[0] // 2
    rows = region.any(-1).nonzero().ravel()
    sampled, distance = region[rows], distance[rows]
    if bool((sampled == sampled[:1]).all()):
        return False
    columns = torch.arange(region.shape[-1], device=region.device) - region.shape[-1] // 2
    first = torch.where(sampled, columns, columns[-1]).amin(-1)
    last = torch.where(sampled, columns, columns[0]).amax(-1)
    lengths = last - first
    is_block = (first + last).abs().le(1) & (sampled.sum(-1) == lengths + 1)
    is_shorter = lengths[distance >= 0].diff().le(1).all() & lengths[distance <= 0].diff().ge(-1).all()
    return bool(is_block.all() & is_shorter)
