"""Shrinkage rules, which determine the fraction of each singular value that is kept.

A rule processes a spectrum in two steps. `measure` computes the quantities that depend on all values, such as the
largest value, the median or a threshold; `share` is then an elementwise function. The derivative of a shrunk matrix is
therefore that of an elementwise function of the singular values, plus that of a few measured numbers.

Two rules, `OptimalShrinkage` and `AdaptiveTraceNorm`, have no free parameter, since they adapt to the noise.

References
----------
Gavish and Donoho, Optimal shrinkage of singular values, IEEE TIT 2017, 10.1109/TIT.2017.2653801; the noise from the
median singular value: the same, IEEE TIT 2014, 10.1109/TIT.2014.2323359.

Josse and Sardy, Adaptive shrinkage of singular values, Stat Comput 2016, 10.1007/s11222-015-9554-9.

Candes, Sing-Long and Trzasko, Unbiased risk estimates for singular value thresholding and spectral estimators, IEEE TSP
2013, 10.1109/TSP.2013.2270464: divergence for Stein's unbiased risk estimate, also of complex matrices.

Departs from the papers in: threshold and exponent of the adaptive trace norm are selected on a grid of fractions of the
largest singular value, so that the rule is exactly scale-equivariant; for equal singular values, the limit of the
divergence is used.
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
        Whether the matrices are complex, which doubles the degrees of freedom of the noise.
    n_sibling_axes
        Number of trailing batch axes over matrices of the same series: 1 if each frame is a matrix.
    """

    values: Tensor
    shape: tuple[int, int]
    is_complex: bool
    n_sibling_axes: int = 0

    @property
    def largest(self) -> Tensor:
        """The largest singular value, ``(*batch, 1)``."""
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

        A rule that keeps all values must also return 1 for a value of zero, since small values may be replaced by zero.
        """

    def cutoff(self, leading: Tensor) -> Tensor | None:  # noqa: ARG002
        """The value ``(*batch, 1)`` up to which all are removed; None if the leading values do not determine it."""
        return None


class _Soft(Shrinkage):
    """Soft thresholding, s <- max(s - t, 0), where the threshold t is the cutoff of the rule."""

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
    """Soft thresholding relative to the largest singular value: s <- max(s - gain sigmoid(theta) s_1, 0)."""

    theta: Number
    gain: Number = 1.0

    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold."""
        largest = leading[..., :1]
        return torch.sigmoid(as_tensor_like(self.theta, largest)) * as_tensor_like(self.gain, largest) * largest


@dataclass(frozen=True)
class AbsoluteSoft(_Soft):
    """Soft thresholding, the proximal operator of the nuclear norm: s <- max(s - weight, 0), weight >= 0."""

    weight: Number

    def cutoff(self, leading: Tensor) -> Tensor:
        """The threshold."""
        return as_tensor_like(self.weight, leading).clamp(min=0).expand_as(leading[..., :1])


@dataclass(frozen=True)
class Schatten(Shrinkage):
    """p-shrinkage, s <- max(s - weight s^(p - 1), 0), soft thresholding for p = 1; weights are clamped at 0."""

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
    """Keep the k largest singular values unchanged and remove the others."""

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
    """A top-k rule with a learnable k: w_i = sigmoid((k + 1/2 - i) / temperature), i = 1, 2, ..."""

    k: Number
    temperature: float = 0.25
    tie_width: float = 1e-3

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:  # noqa: ARG002
        """See `Shrinkage`."""
        k = as_tensor_like(self.k, values)
        return torch.sigmoid((k + 0.5 - _rank_index(values)) / self.temperature).expand_as(values)

    def cutoff(self, leading: Tensor) -> Tensor | None:
        """The first value for which the sigmoid is below the rounding error of single precision."""
        dropped = max(0, math.ceil(float(self.k) + 0.5 + 17 * self.temperature))
        return leading[..., dropped : dropped + 1] if leading.shape[-1] > dropped else None


@dataclass(frozen=True)
class NuclearMinusFrobenius(Shrinkage):
    """The proximal operator of weight (||X||_* - ||X||_F), which preserves large singular values and rank-one matrices.

    With z = max(s - weight, 0): s <- z (1 + weight / ||z||). If s_1 does not exceed the weight, only s_1 is kept.

    Wang, Yao and Kwok, A scalable, adaptive and sound nonconvex regularizer for low-rank matrix learning, WWW 2021,
    10.1145/3442381.3450142; closed form as for l1 - l2, Lou and Yan, 10.1007/s10915-017-0463-2.
    """

    weight: Number

    def measure(self, spectrum: Spectrum) -> Measured:
        """The threshold, the factor of the excess over it, and the value from which values are kept unchanged."""
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
        """The threshold, or the second value if it is lower."""
        threshold = self._threshold(leading)
        return torch.minimum(threshold, leading[..., 1:2]) if leading.shape[-1] > 1 else threshold

    def _threshold(self, values: Tensor) -> Tensor:
        return as_tensor_like(self.weight, values).clamp(min=0).expand_as(values[..., :1])


def soft_share(values: Tensor, threshold: Tensor) -> Tensor:
    """The share max(1 - t / s, 0) that soft thresholding keeps; 1 for t = 0."""
    kept = values >= threshold
    return torch.where(kept, 1 - threshold / torch.where(values > 0, values, 1.0), 0.0)


def as_tensor_like(number: Number, values: Tensor) -> Tensor:
    """Convert a number or tensor to the data type and device of the values."""
    return torch.as_tensor(number, dtype=values.dtype, device=values.device)


def _rank_index(values: Tensor) -> Tensor:
    return torch.arange(1, values.shape[-1] + 1, device=values.device)


@dataclass(frozen=True)
class OptimalShrinkage(Shrinkage):
    """Asymptotically optimal shrinkage (least squared error) for a low-rank matrix in white noise.

    With sides m <= n and beta = m / n: s <- sqrt((s^2 - (beta + 1) t^2)^2 - 4 beta t^4) / s if s > (1 + sqrt(beta)) t,
    otherwise 0. The noise level is t = median(s) / sqrt(mu), where mu is the median of the Marchenko-Pastur
    distribution, which is the same for complex noise. More than half of the singular values must be noise.
    """

    def measure(self, spectrum: Spectrum) -> Measured:
        """The squared noise level, and beta."""
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
    """Median of the Marchenko-Pastur distribution: squared singular values of white noise of variance 1 / n.

    The sides of the matrix are m <= n, with beta = m / n.
    """
    low, high = (1 - sqrt(beta)) ** 2, (1 + sqrt(beta)) ** 2
    angles = (
        (np.arange(20_000) + 0.5) * np.pi / 20_000
    )  # with x = centre - cos(angle), the integrand is smooth at both edges
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    density = np.sin(angles) ** 2 / x
    mass = np.cumsum(density) - density / 2
    return float(np.interp(density.sum() / 2, mass, x))


@dataclass(frozen=True)
class AdaptiveTraceNorm(Shrinkage):
    """s <- s max(1 - (tau / s)^gamma, 0), where tau and gamma minimise an estimate of the risk.

    If the noise level is known, the estimate is Stein's unbiased risk estimate (SURE), otherwise generalised SURE,
    which does not require it: ||residual||^2 / (1 - divergence / N)^2, where N is the number of real values in the
    matrix. The minimum is found on a grid in which tau is a fraction of s_1, so that the derivative depends on tau only
    through s_1.

    Parameters
    ----------
    noise
        Standard deviation of each real value, i.e. of real and imaginary part separately; None if unknown.
    shares
        Grid of tau / s_1.
    gammas
        Grid of exponents: 1 is soft thresholding, infinity would be hard thresholding.
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
        """The fraction tau / s_1 and the exponent of the lowest risk, ``(*batch, 1)``."""
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
        """Estimated risk for each tau, ``(*batch, n_shares)``, from the residual and the divergence."""
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
    """For each value, the sum of 1 / (s_i^2 - s_j^2) over the other values, and the number of other equal values."""
    squares = values.square()
    distance = squares.unsqueeze(-1) - squares.unsqueeze(-2)
    width = (_TIE * squares[..., :1, None]).square() + torch.finfo(values.dtype).tiny
    weight = 1 / (distance.square() + width)
    ties = (width * weight).sum(-1) - 1  # without the value itself
    return (distance * weight).sum(-1), ties
