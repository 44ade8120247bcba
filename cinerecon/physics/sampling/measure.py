"""How much a mask samples, and what of k-space holds signal."""

from typing import Literal

import torch
from torch import Tensor

EVEN = 0.85
"""Share of the inner density that a pattern which does not thin out has outside, whatever was drawn."""

Kind = Literal["points", "lines", "same lines", "changing lines"]

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


def scan_acceleration(mask: Tensor, extent: tuple[slice, slice] | None = None) -> tuple[float, float]:
    """Acceleration of a measured scan, and the same without the central lines that every frame samples.

    It counts over the extent that was measured: what a scan leaves out at the edges of k-space (asymmetric echo,
    partial Fourier, phase resolution below 100 %) costs resolution, not lines.

    Parameters
    ----------
    mask
        ``(*batch, frames, 1, ky, kx or 1)``
    extent
        What there was to measure along ky and kx, where it is known; None: see `measured_extent`.
    """
    rows, columns = extent or measured_extent(mask)
    measured, acs = mask[..., rows, columns], acs_block(mask[..., columns])
    without = slice(acs.start - rows.start, acs.stop - rows.start) if acs.start < acs.stop else None
    return net_acceleration(measured), net_acceleration(measured, without=without)


def measured_extent(mask: Tensor) -> tuple[slice, slice]:
    """The ky and the kx that were to be measured, of a mask ``(*batch, frames, 1, ky, kx or 1)``.

    Edges that no frame samples were left out on purpose if the rest is most of the axis, sampled as densely outside as
    inside, and they are wider than twice its widest gap; else a sparse pattern, or one that thins out, has missed them.
    """
    frames = mask.flatten(0, -4)[:, 0]
    return _extent(frames.any(-1)), _extent(frames.any(-2))


def _extent(sampled: Tensor) -> slice:
    """Of one axis, ``(frames, n)``."""
    found, n = sampled.any(0).nonzero().ravel(), sampled.shape[-1]
    if len(found) < 2 or 2 * int(found[-1] - found[0] + 1) < n or _thins_out(sampled[:, found[0] : found[-1] + 1]):
        return slice(0, n)
    first, last, chance = int(found[0]), int(found[-1]), 2 * (int(found.diff().max()) - 1)
    return slice(first if first > chance else 0, last + 1 if n - 1 - last > chance else n)


def _thins_out(sampled: Tensor) -> bool:
    """Whether the outer quarters of ``(frames, n)`` hold clearly less than the inner half, what all share left out."""
    share = sampled.double().mean(0)
    share[share == 1] = torch.nan
    quarter = len(share) // 4
    outer = torch.cat((share[:quarter], share[len(share) - quarter :])).nanmean()
    inner = share[quarter : len(share) - quarter].nanmean()
    return bool(outer < EVEN * inner) or bool(inner.isnan() and not outer.isnan())


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


def samples_whole_readouts(mask: Tensor) -> bool:
    """Whether ``(*batch, frames, 1, ky, kx or 1)`` is the same for every kx, as a Cartesian scanner acquires it."""
    return torch.equal(mask, mask[..., :1].expand_as(mask))


def kind_of(mask: Tensor) -> Kind:
    """What ``(frames, 1, ky, kx or 1)`` is made of; of one frame nobody knows whether the next would be another."""
    if not samples_whole_readouts(mask):
        return "points"
    if len(mask) == 1:
        return "lines"
    return "same lines" if torch.equal(mask, mask[:1].expand_as(mask)) else "changing lines"


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
