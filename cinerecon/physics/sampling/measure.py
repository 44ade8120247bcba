"""How much a mask samples."""

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["points", "lines", "same lines", "changing lines"]


def net_acceleration(mask: Tensor, *, without: slice | None = None) -> float:
    """K-space points over sampled points of ``(*batch, frames, 1, ky, kx or 1)``; some ky lines left out.

    Where lines are left out, they are neither points nor sampled points; 1 if no line is left.
    """
    counted = torch.ones(mask.shape[-2], dtype=torch.bool, device=mask.device)
    if without is not None:
        counted[without] = False
    rest = mask[..., counted, :]
    return rest.numel() / max(int(rest.sum()), 1) if rest.numel() else 1.0


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
