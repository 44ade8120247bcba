"""Shrinkage rules without a number to choose: the noise of the matrix itself sets them.

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

from dataclasses import dataclass
from functools import lru_cache
from math import inf, sqrt

import numpy as np
import torch
from torch import Tensor

from cinerecon.physics.lowrank.rules import Measured, Shrinkage, Spectrum

_TIE = 1e-9


@dataclass(frozen=True)
class OptimalShrinkage(Shrinkage):
    """Least squared error for a matrix of low rank in white noise, as its sides grow, with sides m <= n, beta = m / n.

    s <- sqrt((s^2 - (beta + 1) t^2)^2 - 4 beta t^4) / s where s > (1 + sqrt(beta)) t, else 0. The unit of noise is
    t = median(s) / sqrt(mu), with mu the median of Marchenko and Pastur's law; the law, and so the rule, is the same
    for complex noise. It assumes that more than half of the singular values are noise.
    """

    def measure(self, spectrum: Spectrum) -> Measured:
        """The unit of noise, squared, and beta."""
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
    angles = (np.arange(20_000) + 0.5) * np.pi / 20_000  # x = centre - cos(angle): the edges' roots become smooth
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
    """For each value the sum of 1 / (s_i^2 - s_j^2) over the others, and the number of those equal to it."""
    squares = values.square()
    distance = squares.unsqueeze(-1) - squares.unsqueeze(-2)
    width = (_TIE * squares[..., :1, None]).square() + torch.finfo(values.dtype).tiny
    weight = 1 / (distance.square() + width)
    ties = (width * weight).sum(-1) - 1  # each is equal to itself
    return (distance * weight).sum(-1), ties
