"""Shrinkage rules, which determine the fraction of each singular value that is kept.

A rule processes a spectrum in two steps. `measure` computes the quantities that couple the values: the largest value,
the median, or a threshold for each. `share` then treats each value separately. The derivative of a shrunk matrix is
that of an elementwise function of the singular values, plus that of a few measured numbers.

Two rules have no parameter to choose, since the noise of the matrix determines them.

References
----------
Gavish and Donoho, Optimal shrinkage of singular values, IEEE TIT 2017, 10.1109/TIT.2017.2653801; the noise from the
median singular value: the same, IEEE TIT 2014, 10.1109/TIT.2014.2323359.

Josse and Sardy, Adaptive shrinkage of singular values, Stat Comput 2016, 10.1007/s11222-015-9554-9.

Candes, Sing-Long and Trzasko, Unbiased risk estimates for singular value thresholding and spectral estimators, IEEE TSP
2013, 10.1109/TSP.2013.2270464: Stein's divergence, for complex matrices too.

Departs from the papers in: threshold and exponent of the adaptive trace norm are searched on a grid of fractions of the
largest singular value, so that the rule is exactly scale-equivariant; equal singular values take the limit of the
divergence.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt

import numpy as np
import torch
from torch import Tensor

Measured = tuple[Tensor, ...]
Number = Tensor | float
_TIE = 1e-9
"""Relative distance of squared singular values below which they are treated as equal."""


@dataclass(frozen=True)
class Spectrum:
    """Singular values of matrices, with the properties of the matrices.

    Parameters
    ----------
    values
        ``(*batch, n)``, descending; n is the smaller side of the matrix. For a rule with a `cutoff`, the leading values
        are sufficient.
    shape
        Rows and columns of each matrix.
    is_complex
        Whether the matrices are complex, which doubles the degrees of freedom of noise.
    n_sibling_axes
        Number of trailing batch axes over matrices of the same series: 1 if each frame is a matrix.
    """

    values: Tensor
    shape: tuple[int, int]
    is_complex: bool
    n_sibling_axes: int = 0

    @property
    def largest(self) -> Tensor:
        """``(*batch, 1)``."""
        return self.values[..., :1]


class Shrinkage(ABC):
    """A rule for the fraction of each singular value that is kept.

    Attributes
    ----------
    tie_width
        Distance of squared singular values, relative to the largest, below which the derivative treats them as equal.
        This is the rounding error for a rule with equal shares for equal values. It is larger for a rule with unequal
        shares (such as those of the k-th and the next value of a top-k rule), whose derivative diverges as the values
        approach each other.
    """

    tie_width: float = 1e-9

    def measure(self, spectrum: Spectrum) -> Measured:  # noqa: ARG002
        """Compute the quantities of a whole spectrum that the rule needs, ``(*batch, 1)`` or ``(*batch, n)``."""
        return ()

    @abstractmethod
    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """Shares w ``(*batch, n)`` of singular values ``(*batch, n)``, elementwise.

        A rule that keeps everything must also do so for a value of zero, since small values may be replaced by zero.
        """

    def cutoff(self, leading: Tensor) -> Tensor | None:  # noqa: ARG002
        """The value ``(*batch, 1)`` up to which no value is kept, if it is determined by the leading values."""
        return None


class _Soft(Shrinkage):
    """Soft thresholding, s <- max(s - t, 0), with t the cutoff of the rule."""

    @abstractmethod
    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold."""

    def measure(self, spectrum: Spectrum) -> Measured:
        """The threshold."""
        return (self.cutoff(spectrum.values),)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        return soft_share(values, measured[0])


@dataclass(frozen=True)
class RelativeSoft(_Soft):
    """Soft thresholding at a share of the largest singular value: s <- max(s - gain sigmoid(theta) s_1, 0)."""

    theta: Number
    gain: Number = 1.0

    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold."""
        largest = leading[..., :1]
        return torch.sigmoid(as_tensor_like(self.theta, largest)) * as_tensor_like(self.gain, largest) * largest


@dataclass(frozen=True)
class AbsoluteSoft(_Soft):
    """Soft thresholding, the proximal map of the nuclear norm: s <- max(s - weight, 0), for weight >= 0."""

    weight: Number

    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold."""
        return as_tensor_like(self.weight, leading).clamp(min=0).expand_as(leading[..., :1])


@dataclass(frozen=True)
class Schatten(Shrinkage):
    """p-shrinkage, soft thresholding for p = 1: s <- max(s - weight s^(p - 1), 0); negative weights count as zero."""

    weight: Number
    p: float

    def measure(self, spectrum: Spectrum) -> Measured:
        """The weight."""
        return (as_tensor_like(self.weight, spectrum.values).clamp(min=0).expand_as(spectrum.largest),)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        (weight,) = measured
        positive = values > 0
        share = 1 - weight * torch.where(positive, values, 1.0) ** (self.p - 2)
        return torch.where(positive, share.clamp(min=0), (weight == 0).to(share.dtype))

    def cutoff(self, leading: Tensor) -> Tensor:
        """The solution s of s = weight s^(p - 1)."""
        weight = as_tensor_like(self.weight, leading).clamp(min=0)
        return (weight ** (1 / (2 - self.p))).expand_as(leading[..., :1])


@dataclass(frozen=True)
class TopKHard(Shrinkage):
    """Keep the k largest singular values as they are, drop the others."""

    k: int
    tie_width: float = 1e-3

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:  # noqa: ARG002
        """See `Shrinkage`."""
        return (_rank_index(values) <= self.k).to(values.dtype).expand_as(values)

    def cutoff(self, leading: Tensor) -> Tensor | None:
        """The first value that is removed."""
        return leading[..., self.k : self.k + 1] if leading.shape[-1] > self.k else None


@dataclass(frozen=True)
class TopKSoft(Shrinkage):
    """A top-k rule whose k can be learned: w_i = sigmoid((k + 1/2 - i) / temperature), i = 1, 2, ..."""

    k: Number
    temperature: float = 0.25
    tie_width: float = 1e-3

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:  # noqa: ARG002
        """See `Shrinkage`."""
        k = as_tensor_like(self.k, values)
        return torch.sigmoid((k + 0.5 - _rank_index(values)) / self.temperature).expand_as(values)

    def cutoff(self, leading: Tensor) -> Tensor | None:
        """The value at which the sigmoid is below the rounding error of single precision."""
        dropped = max(0, math.ceil(float(self.k) + 0.5 + 17 * self.temperature))
        return leading[..., dropped : dropped + 1] if leading.shape[-1] > dropped else None


@dataclass(frozen=True)
class NuclearMinusFrobenius(Shrinkage):
    """The proximal map of weight (||X||_* - ||X||_F), which preserves large singular values and any matrix of rank one.

    With z = max(s - weight, 0): s <- z (1 + weight / ||z||). If s_1 does not exceed the weight, only s_1 is kept.

    Wang, Yao and Kwok, A scalable, adaptive and sound nonconvex regularizer for low-rank matrix learning, WWW 2021,
    10.1145/3442381.3450142; the closed form is that of l1 - l2, Lou and Yan, 10.1007/s10915-017-0463-2.
    """

    weight: Number

    def measure(self, spectrum: Spectrum) -> Measured:
        """The threshold, the factor on the excess over it, and the value above which everything is kept."""
        threshold = self._threshold(spectrum.values)
        excess = (spectrum.values - threshold).clamp(min=0)
        energy = excess.square().sum(-1, keepdim=True)
        some = energy > 0
        factor = torch.where(some, 1 + threshold * torch.where(some, energy, 1.0).rsqrt(), 1.0)
        return threshold, factor, torch.where(some, torch.inf, spectrum.largest)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        threshold, factor, untouched = measured
        return torch.where(values >= untouched, 1.0, factor * soft_share(values, threshold))

    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold, or the second value if that is lower."""
        threshold = self._threshold(leading)
        return torch.minimum(threshold, leading[..., 1:2]) if leading.shape[-1] > 1 else threshold

    def _threshold(self, values: Tensor) -> Tensor:
        return as_tensor_like(self.weight, values).clamp(min=0).expand_as(values[..., :1])


def soft_share(values: Tensor, threshold: Tensor) -> Tensor:
    """The share max(1 - t / s, 0) that soft thresholding keeps; 1 for t = 0."""
    kept = values >= threshold
    return torch.where(kept, 1 - threshold / torch.where(values > 0, values, 1.0), 0.0)


def as_tensor_like(number: Number, values: Tensor) -> Tensor:
    """A number or a tensor of numbers with the type and on the device of the values."""
    return torch.as_tensor(number, dtype=values.dtype, device=values.device)


def _rank_index(values: Tensor) -> Tensor:
    return torch.arange(1, values.shape[-1] + 1, device=values.device)


@dataclass(frozen=True)
class OptimalShrinkage(Shrinkage):
    """Least squared error for a matrix of low rank in white noise, as its sides grow, with sides m <= n, beta = m / n.

    s <- sqrt((s^2 - (beta + 1) t^2)^2 - 4 beta t^4) / s where s > (1 + sqrt(beta)) t, else 0. The unit of noise is
    t = median(s) / sqrt(mu), with mu the median of Marchenko and Pastur's law; the law, and so the rule, is the same
    for complex noise. It assumes that more than half of the singular values are noise.
    """

    def measure(self, spectrum: Spectrum) -> Measured:
        """The squared unit of noise, and beta."""
        values = spectrum.values
        n, m = values.shape[-1], max(spectrum.shape)
        median = values[..., [(n - 1) // 2, n // 2]].mean(-1, keepdim=True)
        beta = n / m
        return median.square() / marchenko_pastur_median(beta), torch.full_like(median, beta)

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        unit, beta = measured
        squares = values.square()
        kept = squares > (1 + beta.sqrt()).square() * unit
        radicand = (squares - (beta + 1) * unit).square() - 4 * beta * unit.square()
        return torch.where(kept, torch.where(kept, radicand, 1.0).sqrt() / torch.where(kept, squares, 1.0), 0.0)


@lru_cache(maxsize=64)
def marchenko_pastur_median(beta: float) -> float:
    """Median of the squared singular values of white noise (sides m <= n, beta = m / n, variance 1 / n)."""
    low, high = (1 - sqrt(beta)) ** 2, (1 + sqrt(beta)) ** 2
    angles = (np.arange(20_000) + 0.5) * np.pi / 20_000  # x = centre - cos(angle): smooth at both edges
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    density = np.sin(angles) ** 2 / x
    mass = np.cumsum(density) - density / 2
    return float(np.interp(density.sum() / 2, mass, x))


@dataclass(frozen=True)
class AdaptiveTraceNorm(Shrinkage):
    """s <- s max(1 - (tau / s)^gamma, 0) with tau and gamma of the least estimated risk.

    The estimate is Stein's (SURE) where the noise is known, else its generalised form, which needs no noise level:
    ||residual||^2 / (1 - divergence / N)^2, N the number of real numbers in the matrix. They are chosen on a grid, and
    tau is a fraction of s_1: the derivative depends on tau only through s_1.

    Parameters
    ----------
    noise
        Standard deviation of each real number in the matrix, thus of real and imaginary part each; None: unknown.
    shares
        tau / s_1 to try.
    gammas
        Exponents to try: 1 is soft thresholding, infinity would be hard.
    """

    noise: float | None = None
    shares: tuple[float, ...] = tuple(10 ** (-4 + n / 30) for n in range(121))
    gammas: tuple[float, ...] = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)

    def measure(self, spectrum: Spectrum) -> Measured:
        """Tau and gamma."""
        share, gamma = self._choose(spectrum)
        return share * spectrum.largest, gamma

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        tau, gamma = measured
        kept = values > tau
        return torch.where(kept, 1 - (tau / torch.where(kept, values, 1.0)) ** gamma, 0.0)

    @torch.no_grad()
    def _choose(self, spectrum: Spectrum) -> Measured:
        values = spectrum.values
        shares = values.new_tensor(self.shares)
        crowding, ties = _crowding(values)
        best = torch.full_like(spectrum.largest, inf)
        share, exponent = torch.ones_like(best), torch.ones_like(best)
        for gamma in self.gammas:
            risks = self._risks(spectrum, shares, gamma, crowding, ties)  # (*batch, n_shares)
            least, index = risks.nan_to_num(nan=inf).min(-1, keepdim=True)
            better = least < best
            best = torch.where(better, least, best)
            share, exponent = torch.where(better, shares[index], share), torch.where(better, gamma, exponent)
        return share, exponent

    def _risks(self, spectrum: Spectrum, shares: Tensor, gamma: float, crowding: Tensor, ties: Tensor) -> Tensor:
        """Risk for each tau: s' - s, and the divergence of the map, whose slope by s is `slopes`."""
        values = spectrum.values.unsqueeze(-2)
        thresholds = shares[:, None] * values[..., :1]
        kept = values > thresholds
        powers = torch.where(kept, (thresholds / torch.where(kept, values, 1.0)) ** gamma, 1.0)
        slopes = torch.where(kept, 1 + (gamma - 1) * powers, 0.0)
        misfit = (values * powers).square().sum(-1)
        m, n = spectrum.shape
        kind = 2 if spectrum.is_complex else 1
        alone = slopes + (kind * abs(m - n) + kind - 1) * (1 - powers)
        pairs = values.square() * (1 - powers) * crowding.unsqueeze(-2) + (1 - powers + slopes) / 4 * ties.unsqueeze(-2)
        divergence = (alone + 2 * kind * pairs).sum(-1)
        size = kind * m * n
        if self.noise is not None:
            return misfit + self.noise**2 * (2 * divergence - size)
        left = 1 - divergence / size
        return torch.where(left > _TIE, misfit / left.square(), inf)


def _crowding(values: Tensor) -> tuple[Tensor, Tensor]:
    """For each value, the sum of 1 / (s_i^2 - s_j^2) over the other values, and the number of values equal to it."""
    squares = values.square()
    distance = squares.unsqueeze(-1) - squares.unsqueeze(-2)
    width = (_TIE * squares[..., :1, None]).square() + torch.finfo(values.dtype).tiny
    weight = 1 / (distance.square() + width)
    ties = (width * weight).sum(-1) - 1  # each is equal to itself
    return (distance * weight).sum(-1), ties
