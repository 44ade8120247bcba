"""Circular forward differences of a series in time, along y and along x, into arrays that are there already."""

from dataclasses import dataclass

import torch
from torch import Tensor


def difference(u: Tensor, axis: int, out: Tensor) -> Tensor:
    """D u along one axis, u[n + 1] - u[n], into `out`."""
    last = u.shape[axis] - 1
    torch.sub(u.narrow(axis, 1, last), u.narrow(axis, 0, last), out=out.narrow(axis, 0, last))
    torch.sub(u.narrow(axis, 0, 1), u.narrow(axis, last, 1), out=out.narrow(axis, last, 1))
    return out


def add_adjoint_difference(total: Tensor, d: Tensor, axis: int, factor: float) -> Tensor:
    """Add factor D^T d, d[n - 1] - d[n], to `total`."""
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
    """K^H K of the split-off penalties: identity + time D_t^T D_t + y D_y^T D_y + x D_x^T D_x."""

    identity: float = 0.0
    time: float = 0.0
    y: float = 0.0
    x: float = 0.0

    def __add__(self, other: "Coupling") -> "Coupling":
        """The coupling to both."""
        return Coupling(self.identity + other.identity, self.time + other.time, self.y + other.y, self.x + other.x)

    def add_to(self, total: Tensor, u: Tensor, buffer: Tensor) -> Tensor:
        """Add K^H K u to `total`; the buffer is of the shape of u."""
        total.add_(u, alpha=self.identity)
        for axis, factor in enumerate((self.time, self.y, self.x)):
            if factor:
                add_adjoint_difference(total, difference(u, axis, buffer), axis, factor)
        return total
