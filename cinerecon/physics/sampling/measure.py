"""Measures of sampling masks: acceleration, extent, central lines; and the lines of k-space that hold signal."""

from typing import Literal

import torch
from torch import Tensor

from cinerecon.cine import CineData, Extent

EVEN_DENSITY_RATIO = 0.85
"""Outer over inner density of k-space, above which a pattern does not thin out."""
MANY_POSITIONS = 8
"""Number of sampled positions opposite to an empty edge that occurs by chance in less than 1 of 1000 patterns."""

SamplingKind = Literal["points", "lines", "same lines", "changing lines"]

EMPTY_LINE_RATIO = 1e-12
"""Power of an empty line over the mean of all lines: noise is orders above, rounding errors of a transform below."""


def net_acceleration(mask: Tensor, *, without: slice | None = None) -> float:
    """K-space points over sampled points of ``(*batch, frames, 1, ky, kx or 1)``; some ky lines left out.

    Where lines are left out, they are neither points nor sampled points; 1 if no line or no sampled point is left.
    """
    counted = torch.ones(mask.shape[-2], dtype=torch.bool, device=mask.device)
    if without is not None:
        counted[without] = False
    rest = mask[..., counted, :]
    n_sampled = int(rest.sum())
    return rest.numel() / n_sampled if n_sampled else 1.0


def scan_acceleration(mask: Tensor, extent: Extent | None = None) -> tuple[float, float]:
    """Acceleration of a scan, and the same without the central lines that every frame samples.

    It counts points over sampled points within the extent that the scan covers: the edges of k-space that it leaves out
    (asymmetric echo, partial Fourier, phase resolution below 100 %) cost resolution and do not accelerate it.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)``
    extent
        The ky and kx that the scan covers, where that is known, e.g. from the scan before it was undersampled; None:
        see `measured_extent`.
    """
    rows, columns = extent or measured_extent(mask)
    columns = columns if mask.shape[-1] > 1 else slice(None)
    measured, acs = mask[..., rows, columns], acs_block(mask[..., columns])
    first = rows.start or 0
    without = slice(acs.start - first, acs.stop - first) if acs.start < acs.stop else None
    return net_acceleration(measured), net_acceleration(measured, without=without)


def acceleration_of(data: CineData) -> tuple[float, float]:
    """Acceleration of a slice as `scan_acceleration` counts it, over the extent that its metadata name."""
    return scan_acceleration(data.mask, data.meta.extent)


def measured_extent(mask: Tensor) -> Extent:
    """The ky and the kx that a scan covers, from its mask ``(*batch, frames, 1, ky, kx or 1)``.

    Edges that no frame samples are outside of the extent in two cases, else a sparse pattern missed them by chance:
    the edge is wider than twice the widest gap of a pattern that samples most of the axis and has the same density
    outside as inside; or the opposite edge, at the same distance from the centre, holds many samples (asymmetric echo
    and partial Fourier of patterns that thin out). A mask with one column covers the whole readout.
    """
    frames = mask.flatten(0, -4)[:, 0]
    return _extent(frames), _extent(frames.mT) if mask.shape[-1] > 1 else slice(None)


def _extent(sampled: Tensor) -> slice:
    """The extent along the first axis of k-space, of ``(frames, n, other axis)``."""
    positions, n = sampled.any(-1).any(0).nonzero().ravel(), sampled.shape[1]
    if len(positions) < 2:
        return slice(0, n)
    first, end = int(positions[0]), int(positions[-1]) + 1
    if 2 * (end - first) < n:
        return slice(0, n)
    by_chance = n if _thins_out(sampled[:, first:end]) else 2 * (int(positions.diff().max()) - 1)
    n_opposite_first = int((positions > 2 * (n // 2) - first).sum())
    n_opposite_end = int((positions <= 2 * (n // 2) - end).sum())
    starts_later = first > by_chance or n_opposite_first >= MANY_POSITIONS
    ends_earlier = n - end > by_chance or n_opposite_end >= MANY_POSITIONS
    return slice(first if starts_later else 0, end if ends_earlier else n)


def _thins_out(sampled: Tensor) -> bool:
    """Whether the outer quarters of ``(frames, n, other axis)`` hold clearly less than the inner half.

    The most densely sampled positions are left out: those are the lines that all frames share.
    """
    share = sampled.double().mean((0, 2))
    share[share == share.max()] = torch.nan
    quarter = len(share) // 4
    outer = torch.cat((share[:quarter], share[len(share) - quarter :])).nanmean()
    inner = share[quarter : len(share) - quarter].nanmean()
    return bool(outer < EVEN_DENSITY_RATIO * inner) or bool(inner.isnan() and not outer.isnan())


def acs_block(mask: Tensor) -> slice:
    """The ky lines around ky // 2 that every frame samples."""
    always = mask.flatten(0, -4).all(0).all(0).all(-1).tolist()
    first = last = len(always) // 2
    while last < len(always) and always[last]:
        last += 1
    while last > len(always) // 2 and first > 0 and always[first - 1]:
        first -= 1
    return slice(first, last)


def count_acs(mask: Tensor) -> int:
    """The count of central ky lines that every frame samples."""
    block = acs_block(mask)
    n_lines: int = block.stop - block.start
    return n_lines


def samples_whole_readouts(mask: Tensor) -> bool:
    """Whether ``(*batch, frames, 1, ky, kx or 1)`` is the same for every kx, as a Cartesian scanner acquires it."""
    return torch.equal(mask, mask[..., :1].expand_as(mask))


def sampling_kind(mask: Tensor) -> SamplingKind:
    """The kind of a mask ``(frames, 1, ky, kx or 1)``; ``lines`` for a single frame."""
    if not samples_whole_readouts(mask):
        return "points"
    if len(mask) == 1:
        return "lines"
    return "same lines" if torch.equal(mask, mask[:1].expand_as(mask)) else "changing lines"


def block_of_lines(mask: Tensor) -> tuple[int, int] | None:
    """First and last row of a fully sampled scan; None if it is undersampled.

    Fully sampled means that all frames measure the same block of adjacent lines around the centre, over at least
    half of the grid: phase resolution below 100 % and partial Fourier measure fewer lines, but leave none out.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)``
    """
    if not bool((mask == mask[:1]).all()):
        return None
    sampled = mask[0, 0]
    rows = sampled.any(-1)
    if not bool((sampled == (rows[:, None] & sampled.any(-2))).all()):
        return None
    found = rows.nonzero().ravel().tolist()
    first, last = found[0], found[-1]
    whole = last - first + 1 == len(found) and first <= len(rows) // 2 <= last
    return (first, last) if whole and 2 * len(found) >= len(rows) else None


def lines_with_signal(kspace: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows ``(ky,)`` and columns ``(kx,)`` hold any signal.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    """
    power = torch.view_as_real(kspace).square().sum((0, 1, 4))
    return _above_nothing(power.sum(1)), _above_nothing(power.sum(0))


def _above_nothing(power: Tensor) -> Tensor:
    return power > EMPTY_LINE_RATIO * power.mean()
