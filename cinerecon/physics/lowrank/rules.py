"""Shrinkage rules: which share of each singular value is kept.

A rule looks at a spectrum in two steps. `measure` takes from it as a whole whatever couples the values: the largest,
the median, a threshold for each. `share` then treats each value by itself. So the derivative of a shrunk matrix is that
of an elementwise function of the singular values, plus that of a few measured numbers.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Measured = tuple[Tensor, ...]


@dataclass(frozen=True)
class Spectrum:
    """Singular values of matrices, and what is known of the matrices.

    Parameters
    ----------
    values
        ``(*batch, n)``, descending; n is the smaller side of the matrix.
    shape
        Rows and columns of each matrix.
    is_complex
        Whether its entries are complex, which doubles the degrees of freedom of noise in it.
    """

    values: Tensor
    shape: tuple[int, int]
    is_complex: bool

    @property
    def largest(self) -> Tensor:
        """``(*batch, 1)``."""
        return self.values[..., :1]


class Shrinkage(Protocol):
    """A rule that says which share of each singular value is kept."""

    @property
    def tie_width(self) -> float:
        """Distance of eigenvalues of the Gram matrix, relative to the largest, below which they count as equal."""
        ...

    def measure(self, spectrum: Spectrum) -> Measured:
        """Take from a spectrum what the rule needs of it as a whole, each ``(*batch, 1)`` or ``(*batch, n)``."""
        ...

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """Shares w ``(*batch, n)`` of singular values ``(*batch, n)``, elementwise."""
        ...


@dataclass(frozen=True)
class RelativeSoft:
    """Soft thresholding at a share of the largest singular value: s <- max(s - gain sigmoid(theta) s_1, 0)."""

    theta: Tensor | float
    gain: Tensor | float = 1.0
    tie_width: float = 1e-9

    def measure(self, spectrum: Spectrum) -> Measured:
        """The threshold."""
        largest = spectrum.largest
        return (torch.sigmoid(_like(self.theta, largest)) * _like(self.gain, largest) * largest,)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        return soft_share(values, measured[0])


@dataclass(frozen=True)
class TopKHard:
    """Keep the k largest singular values as they are, drop the others."""

    k: int
    tie_width: float = 1e-3

    def measure(self, spectrum: Spectrum) -> Measured:  # noqa: ARG002
        """Nothing."""
        return ()

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:  # noqa: ARG002
        """See `Shrinkage`."""
        return (_order(values) <= self.k).to(values.dtype).expand_as(values)


@dataclass(frozen=True)
class TopKSoft:
    """A top-k rule whose k can be learned: w_i = sigmoid((k + 1/2 - i) / temperature), i = 1, 2, ..."""

    k: Tensor | float
    temperature: float = 0.25
    tie_width: float = 1e-3

    def measure(self, spectrum: Spectrum) -> Measured:  # noqa: ARG002
        """Nothing."""
        return ()

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:  # noqa: ARG002
        """See `Shrinkage`."""
        k = _like(self.k, values)
        return torch.sigmoid((k + 0.5 - _order(values)) / self.temperature).expand_as(values)


@dataclass(frozen=True)
class Schatten:
    """p-shrinkage, soft thresholding for p = 1: s <- max(s - level s^(p - 1), 0)."""

    level: Tensor | float
    p: float
    tie_width: float = 1e-9

    def measure(self, spectrum: Spectrum) -> Measured:
        """The level."""
        return (_like(self.level, spectrum.values),)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        (level,) = measured
        positive = values > 0
        share = 1 - level * torch.where(positive, values, 1.0) ** (self.p - 2)
        return torch.where(positive, share.clamp(min=0), 0.0)


def soft_share(values: Tensor, threshold: Tensor) -> Tensor:
    """The share max(1 - t / s, 0) that soft thresholding keeps; all of it for t = 0."""
    kept = values >= threshold
    return torch.where(kept, 1 - threshold / torch.where(values > 0, values, 1.0), 0.0)


def _like(number: Tensor | float, values: Tensor) -> Tensor:
    return torch.as_tensor(number, dtype=values.dtype, device=values.device)


def _order(values: Tensor) -> Tensor:
    return torch.arange(1, values.shape[-1] + 1, device=values.device)
