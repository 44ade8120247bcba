"""How much a mask samples, and what of k-space holds signal."""

import torch
from torch import Tensor

EMPTY = 1e-12
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


def scan_acceleration(mask: Tensor) -> tuple[float, float]:
    """Acceleration of a measured scan, and the same without the central lines that every frame samples.

    It counts over the extent that was measured: what a scan leaves out at the edges of k-space (asymmetric echo,
    partial Fourier, phase resolution below 100 %) costs resolution, not lines.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)``
    """
    rows, columns = measured_extent(mask)
    measured, acs = mask[..., rows, columns], acs_block(mask[..., columns])
    without = slice(acs.start - rows.start, acs.stop - rows.start) if acs.start < acs.stop else None
    return net_acceleration(measured), net_acceleration(measured, without=without)


def measured_extent(mask: Tensor) -> tuple[slice, slice]:
    """The ky and the kx that a scan with the mask ``(*batch, frames, 1, ky, kx or 1)`` covers.

    They reach from the first to the last that any frame samples, and beyond by as much as is left out between two: a
    sparse pattern may miss the edge as it misses other lines.
    """
    sampled = mask.flatten(0, -3).any(0)
    rows, columns = (_covered(sampled.any(axis)) for axis in (1, 0))
    return rows, columns


def _covered(sampled: Tensor) -> slice:
    found = sampled.nonzero().ravel()
    if found.numel() == 0:
        return slice(0, len(sampled))
    gap = int(found.diff().max()) - 1 if found.numel() > 1 else 0
    return slice(max(int(found[0]) - gap, 0), min(int(found[-1]) + 1 + gap, len(sampled)))


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
    return block.stop - block.start


def block_of_lines(mask: Tensor) -> tuple[int, int] | None:
    """First and last row of a fully sampled scan; None if it is undersampled.

    Fully sampled means that all frames measure the same block of neighbouring lines around the centre, over at least
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
    return power > EMPTY * power.mean()


def gap_inside(has_signal: Tensor) -> int | None:
    """The first empty line between lines with signal, of ``(lines,)``; None if what is empty lies at the edges."""
    found = has_signal.nonzero().ravel()
    if found.numel() == 0:
        return None
    inside = ~has_signal[int(found[0]) : int(found[-1])]
    return int(found[0] + inside.nonzero()[0]) if bool(inside.any()) else None
