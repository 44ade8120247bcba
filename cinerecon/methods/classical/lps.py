"""L+S: a cine as the sum of a low-rank background and a remainder that is sparse in temporal frequency.

Minimises over the series L and S

    1/2 ||A (L + S) - y||^2 + lambda_L ||L||_* + lambda_S ||T S||_1

with ||L||_* the sum of the singular values of the Casorati matrix (voxels x frames) and T the orthonormal Fourier
transform along time. Starting from M = A^H y and S = 0, with L' the previous L, each iteration computes

    L = shrink(M - S),    S = T^H soft(T (M - L'), lambda_S),    M = L + S - A^H (A (L + S) - y)

until M and L + S converge; if all of k-space was measured, M is constant from the beginning. lambda_L is a fraction of
the largest singular value of M - S in each iteration.

References
----------
Otazo, Candes and Sodickson, Low-rank plus sparse matrix decomposition for accelerated dynamic MRI with separation of
background and dynamic components (2015), doi:10.1002/mrm.25240

Departs from the paper in: the default values of the weights, which are relative to the peak of the image; the iteration
does not end when M alone converges, as in the authors' program (``stop_by_mixture=true``). The authors' adjoint divides
by the sum of squares of the coil maps, which is 1 here. Settings fix lambda_L at its value for A^H y (``frozen=true``),
as in some other implementations, or select another rule for the singular values, with settings of its own. The defaults
were tuned on one measured short-axis series (the base of the heart) and the phantom of seed 100, 8-fold Gaussian
sampling of one coil, noise of 0.5 % of the peak.
"""

import math

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import (
    ClassicalMethod,
    Convergence,
    Progress,
    make_encoding,
    ratio,
    reconstruct_each,
    view_shared_image,
)
from cinerecon.methods.classical.config import LpsConfig
from cinerecon.physics.lowrank import RelativeSoft, Schatten, Shrinkage, make_rule, shrink_casorati
from cinerecon.physics.operators import norm

Pair = tuple[Tensor, Tensor]


class Lps(ClassicalMethod[LpsConfig]):
    """L+S, applied to one cine at a time."""

    config_class = LpsConfig
    is_iterative = True
    n_series = 17.0

    def __init__(self, config: LpsConfig | None = None) -> None:
        super().__init__(config)
        make_rule(self.config)  # reject a rule that only networks have before any computation

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """See `ClassicalMethod.solve`."""
        return reconstruct_each(
            data, lambda cine, report: torch.add(*self.separate(cine, report, convergence)), progress
        )

    @torch.no_grad()
    def separate(
        self, data: CineData, progress: Progress | None = None, convergence: Convergence | None = None
    ) -> Pair:
        """Background L and sparse part S of one cine, each ``(frames, y, x)``; their sum is the image."""
        scale = view_shared_image(data).abs().max() if self.config.relative else 1.0
        if scale == 0:
            return (torch.zeros_like(make_encoding(data).adjoint(data.kspace)),) * 2
        low_rank, sparse = self._iterate(data, scale, progress, convergence)
        return low_rank * scale, sparse * scale

    def _iterate(
        self, data: CineData, scale: Tensor | float, progress: Progress | None, convergence: Convergence | None
    ) -> Pair:
        """Separate data divided by a scale, which is applied to images only, so that k-space is not copied."""
        config, encoding, is_cyclic = self.config, make_encoding(data), not data.meta.is_real_time
        start = encoding.adjoint(data.kspace).div_(scale)
        rule = self._rule(start)
        low_rank, sparse, mixed = start, torch.zeros_like(start), start
        for step in range(config.n_iterations):
            last_sum, last_mixed, unshrunk = low_rank + sparse, mixed, mixed - sparse
            sparse = soft_in_frequency(mixed - low_rank, config.weight_sparse, is_cyclic=is_cyclic)
            low_rank = shrink_casorati(unshrunk, rule)
            image = low_rank + sparse
            mixed = image - encoding.normal(image) + start
            if convergence is not None:
                residual = encoding.relative_residual(image * scale, data.kspace)
                misfit = residual * norm(data.kspace) / float(scale)
                penalty = self._penalty(low_rank, sparse, start if config.frozen else unshrunk, is_cyclic=is_cyclic)
                change = ratio(norm(image - last_sum), norm(image))
                convergence.add(misfit**2 / 2 + penalty, residual, change)
            if progress:
                progress(step + 1, config.n_iterations)
            has_converged = norm(mixed - last_mixed) < config.tolerance * norm(last_mixed)
            if not config.stop_by_mixture:
                has_converged = has_converged and norm(image - last_sum) < config.tolerance * norm(image)
            if has_converged:
                break
        return low_rank, sparse

    def _rule(self, start: Tensor) -> Shrinkage:
        config = self.config
        if config.shrinkage != "relative_soft":
            return make_rule(config)
        if config.frozen:
            return Schatten(config.weight_lowrank * _singular_values(start)[-1], p=1.0)
        return RelativeSoft(math.inf, gain=config.weight_lowrank)  # sigmoid(inf) = 1: a fraction of s_1

    def _penalty(self, low_rank: Tensor, sparse: Tensor, unshrunk: Tensor, *, is_cyclic: bool) -> float:
        """lambda_L ||L||_* + lambda_S ||T S||_1; the first term is 0 for a rule that minimises no norm of L."""
        config, values = self.config, _singular_values(low_rank)
        around = sparse if is_cyclic else mirrored(sparse)
        sparse_norm = torch.fft.fft(around, dim=0, norm="ortho").abs().sum(dtype=torch.float64)
        sparse_norm = sparse_norm * len(sparse) / len(around)
        match config.shrinkage:
            case "relative_soft":
                low_rank_norm = config.weight_lowrank * _singular_values(unshrunk)[-1] * values.sum()
            case "absolute_soft":
                low_rank_norm = config.prox_weight * values.sum()
            case "schatten":
                low_rank_norm = config.prox_weight / config.p * (values**config.p).sum()
            case _:
                low_rank_norm = torch.zeros(())
        return float(low_rank_norm) + config.weight_sparse * float(sparse_norm)


def soft_in_frequency(series: Tensor, threshold: float, *, is_cyclic: bool = True) -> Tensor:
    """Shrink the magnitude of each temporal frequency of a series ``(frames, y, x)`` by a threshold.

    A series that is not cyclic is extended by its mirror image, as in a cosine transform, to avoid a discontinuity.
    """
    frequencies = torch.fft.fft(series if is_cyclic else mirrored(series), dim=0, norm="ortho")
    magnitude = frequencies.abs().clamp(min=max(threshold, torch.finfo(frequencies.real.dtype).tiny))
    shrunk: Tensor = torch.fft.ifft(frequencies.mul_(1 - threshold / magnitude), dim=0, norm="ortho")[: len(series)]
    return shrunk


def mirrored(series: Tensor) -> Tensor:
    """The series ``(frames, y, x)`` followed by its mirror image in time."""
    return torch.cat([series, series.flip(0)])


def _singular_values(series: Tensor) -> Tensor:
    """Singular values of the Casorati matrix in ascending order, ``(frames,)``."""
    casorati = series.flatten(1).to(torch.complex128)
    result: Tensor = torch.linalg.eigvalsh(casorati @ casorati.mH).clamp(min=0).sqrt()
    return result
