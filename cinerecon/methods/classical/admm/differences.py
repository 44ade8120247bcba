"""Forward differences of a series in time, along y and along x, into arrays that are there already.

They are circular, except those in time of a real-time series, whose last difference is zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


def difference(u: Tensor, axis: int, out: Tensor, *, is_cyclic: bool = True) -> Tensor:
    """D u along one axis, u[n + 1] - u[n], into `out`; the last is u[0] - u[n], or 0 if the axis is not cyclic."""
    last = u.shape[axis] - 1
    torch.sub(u.narrow(axis, 1, last), u.narrow(axis, 0, last), out=out.narrow(axis, 0, last))
    if is_cyclic:
        torch.sub(u.narrow(axis, 0, 1), u.narrow(axis, last, 1), out=out.narrow(axis, last, 1))
    else:
        out.narrow(axis, last, 1).zero_()
    return out


def add_adjoint_difference(total: Tensor, d: Tensor, axis: int, factor: float) -> Tensor:
    """Add factor D^T d, d[n - 1] - d[n], to `total`; on an axis that is not cyclic, d ends with 0 as D u does."""
    last = d.shape[axis] - 1
    total.sub_(d, alpha=factor)
    total.narrow(axis, 1, last).add_(d.narrow(axis, 0, last), alpha=factor)
    total.narrow(axis, 0, 1).add_(d.narrow(axis, last, 1), alpha=factor)
    return total


def difference_spectrum(n: int) -> Tensor:
    """Eigenvalues ``(n,)`` of D^T D for a circular difference of length n, zero frequency at index 0."""
    return 2 - 2 * torch.cos(2 * torch.pi * torch.arange(n, dtype=torch.float64) / n)


@dataclass(frozen=True)
class Coupling:
    """K^H K of the split-off penalties: identity + time D_t^T D_t + y D_y^T D_y + x D_x^T D_x.

    The frames are cyclic unless those of one of the penalties are not.
    """

    identity: float = 0.0
    time: float = 0.0
    y: float = 0.0
    x: float = 0.0
    is_cyclic: bool = True

    def __add__(self, other: "Coupling") -> "Coupling":
        """The coupling to both."""
        is_cyclic = self.is_cyclic and other.is_cyclic
        space = self.y + other.y, self.x + other.x
        return Coupling(self.identity + other.identity, self.time + other.time, *space, is_cyclic)

    def add_to(self, total: Tensor, u: Tensor, buffer: Tensor) -> Tensor:
        """Add K^H K u to `total`; the buffer is of the shape of u."""
        total.add_(u, alpha=self.identity)
        for axis, factor in enumerate((self.time, self.y, self.x)):
            if factor:
                d = difference(u, axis, buffer, is_cyclic=self.is_cyclic or axis > 0)
                add_adjoint_difference(total, d, axis, factor)
        return total
