"""k-t SLR as in the released programs, with the operators, proximal maps and algorithms of SigPy; for comparison.

This implementation is slow. It minimises over the series u

    ||A u - y||^2 + (mu1 / p) sum_i s_i(u)^p + mu2 sum sqrt(|D_t u|^2 + |D_y u|^2 + |D_x u|^2)

with s_i the singular values of the Casorati matrix (voxels x frames) and D circular forward differences, each divided
by its step. The variables W for D u and Q for u are split off with penalty weights beta2 and beta1. Starting from u =
A^H y, each iteration computes

    W = shrink(D u + L2 / beta2, 1 / beta2),  vectors by their length
    Q = shrink(u + L1 / beta1),               singular values s by s^(p - 1) / beta1
    u = argmin ||A u - y||^2 + mu1 (beta1/2 ||u - Q||^2 + <L1, u - Q>) + mu2 (beta2/2 ||D u - W||^2 + <L2, D u - W>)

where u is computed by conjugate gradients that start from the previous u. In mode ``auglag``, the multipliers are then
updated, L2 -= 1.618 beta2 (W - D u), L1 -= 1.618 beta1 (Q - u); in mode ``continuation`` they remain zero. When the
cost has converged, both betas are increased and the inner loop starts again.

References
----------
Lingala et al., Accelerated dynamic MRI exploiting sparsity and low-rank structure: k-t SLR (2011),
doi:10.1109/TMI.2010.2100850: mode ``continuation``
Lingala et al., Accelerating dynamic MRI by exploiting sparsity and low-rank (ISBI 2011),
doi:10.1109/ISBI.2011.5872579: mode ``auglag``

Departs from the papers in: the stopping criteria, which are those of the released programs. The cost that ends the
inner loop contains the square root of complex squares (without the magnitude). The cost that ends the conjugate
gradients contains the squared energy of each difference and the magnitude of the multiplier terms. In mode
``continuation``, the criterion of an inner iteration uses the differences from before this iteration. These criteria do
not change the minimum, but they determine at which distance from it the iterations end. The recorded convergence
contains the actual cost.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sigpy import alg, linop, prox
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import ClassicalMethod, Convergence, Progress, reconstruct_each, view_shared_image
from cinerecon.methods.classical.config import KtSlrReferenceConfig

Array = NDArray[Any]
Shape = tuple[int, ...]

MULTIPLIER_STEP = 1.618
INNER_TOLERANCE = 1e-3
RANK_TOLERANCE = 1e-6
N_CONVERGENCE_ITERATIONS = 10
INITIAL_PENALTY_RATIO = 10.0


class KtSlrReference(ClassicalMethod[KtSlrReferenceConfig]):
    """The released k-t SLR, applied to one cine at a time. It is computed on the CPU for data on any device."""

    config_class = KtSlrReferenceConfig
    is_iterative = True
    n_series = 40.0
    n_kspace_copies = 3

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """See `ClassicalMethod.solve`."""
        return reconstruct_each(
            data, lambda cine, report: self._iterate(cine, report, convergence), progress, device="cpu"
        )

    def _iterate(self, data: CineData, progress: Progress, convergence: Convergence | None) -> Tensor:
        scale = float(view_shared_image(data).abs().max()) if self.config.relative else 1.0
        if scale == 0 or not data.kspace.any():
            return data.kspace.new_zeros(data.n_frames, *data.matrix)
        csm = None if data.csm is None else data.csm.numpy()
        encoding = encoding_linop(data.mask.numpy(), csm, (data.n_frames, *data.matrix))
        is_cyclic = not data.meta.is_real_time
        solver = ReleasedKtSlr(encoding, (data.kspace / scale).numpy(), self.config, is_cyclic=is_cyclic)
        while not solver.done():
            before = solver.u
            solver.update()
            if convergence is not None:
                convergence.add(*solver.measure(before))
            progress(solver.iter, solver.max_iter)
        return torch.from_numpy(solver.u) * scale


def encoding_linop(mask: Array, csm: Array | None, shape: Shape) -> linop.Linop:
    """The encoding operator A = mask . F . csm, from ``(frames, y, x)`` to ``(frames, coils, ky, kx)``."""
    frames, y, x = shape
    coil_images = linop.Reshape((frames, 1, y, x), shape)
    if csm is not None:
        coil_images = linop.Multiply((frames, 1, y, x), csm) * coil_images
    transform = linop.FFT(coil_images.oshape, axes=(-2, -1))
    return linop.Multiply(transform.oshape, mask.astype(np.float32)) * transform * coil_images


def difference_linop(shape: Shape, steps: tuple[float, ...], *, is_cyclic: bool = True) -> linop.Linop:
    """D: circular forward differences in time, y and x, each divided by its step, ``(3, frames, y, x)``.

    The last difference in time is zero if the frames are not cyclic, a case that the released programs do not consider.
    """
    parts = []
    for axis, step in enumerate(steps):
        difference = linop.Circshift(shape, [-1], [axis]) - linop.Identity(shape)
        if axis == 0 and not is_cyclic:
            is_inner = (np.arange(shape[0]) < shape[0] - 1).astype(np.float32)
            difference = linop.Multiply(shape, is_inner[:, None, None]) * difference
        parts.append(linop.Reshape((1, *shape), shape) * ((1 / step) * difference))
    return linop.Vstack(parts, axis=0)


def vector_shrinkage(shape: Shape) -> prox.Prox:
    """Shrink vectors along the first axis: the residual of the projection onto a ball (Moreau decomposition)."""
    return prox.Conj(prox.L2Proj(shape, 1.0, axes=(0,)))


class SchattenShrinkage(prox.Prox):
    """Shrinkage of the singular values of the Casorati matrix, s <- max(s - alpha s^(p - 1), 0).

    Singular values below 1e-6 s_1 are set to zero.
    """

    def __init__(self, shape: Shape, p: float) -> None:
        self.p = p
        super().__init__(shape)

    def _prox(self, alpha: float, series: Array) -> Array:
        casorati = series.reshape(len(series), -1)
        values, vectors = _spectrum(series)
        is_kept = values > RANK_TOLERANCE * values.max()
        powers = np.where(is_kept, values, 1.0) ** (self.p - 2)
        share = np.where(is_kept, np.maximum(1 - alpha * powers, 0), 0)
        return (((vectors * share) @ vectors.conj().T).astype(series.dtype) @ casorati).reshape(series.shape)

    def norm(self, series: Array) -> float:
        """The Schatten norm 1/p sum_i s_i^p."""
        values = _spectrum(series)[0]
        return float(np.sum(values[values > RANK_TOLERANCE * values.max()] ** self.p) / self.p)


def _spectrum(series: Array) -> tuple[Array, Array]:
    """Singular values and left singular vectors of a series (frames x voxels), from its Gram matrix in float64."""
    casorati = series.reshape(len(series), -1).astype(np.complex128)
    eigenvalues, vectors = np.linalg.eigh(casorati @ casorati.conj().T)
    return np.sqrt(np.abs(eigenvalues)), vectors


class ReleasedKtSlr(alg.Alg):
    """The iteration of the released programs; one update is one inner iteration.

    Attributes
    ----------
    u
        The series ``(frames, y, x)``.
    cost
        The cost as the released programs compute it, one value per update.
    """

    def __init__(
        self, encoding: linop.Linop, kspace: Array, config: KtSlrReferenceConfig, *, is_cyclic: bool = True
    ) -> None:
        self.config = config
        self.A, self.y = encoding, kspace
        self.u = encoding.H(kspace)
        self.D = difference_linop(self.u.shape, config.steps, is_cyclic=is_cyclic)
        self.shrink_gradient = vector_shrinkage(tuple(self.D.oshape))
        self.shrink_spectrum = SchattenShrinkage(self.u.shape, config.p)
        self.beta1 = config.penalty_lowrank or INITIAL_PENALTY_RATIO / float(_spectrum(self.u)[0].max())
        self.beta2 = config.penalty_sparse or INITIAL_PENALTY_RATIO / float(np.abs(self.u).max())
        self.gradient = self.D(self.u)
        self.multiplier1, self.multiplier2 = np.zeros_like(self.u), np.zeros_like(self.gradient)
        self.cost: list[float] = []
        self.n_outer = self.n_inner = 0
        self.u_before, self.is_converged = self.u, False
        super().__init__(config.n_outer * config.n_inner)

    def _update(self) -> None:
        sparse = self.shrink_gradient(1 / self.beta2, self.gradient + self.multiplier2 / self.beta2)
        low_rank = self.shrink_spectrum(1 / self.beta1, self.u + self.multiplier1 / self.beta1)
        self.u = self._solve(low_rank, sparse)
        gradient = self.D(self.u)
        if self.config.mode == "auglag":
            self.gradient = gradient
            self.multiplier2 = self.multiplier2 - MULTIPLIER_STEP * self.beta2 * (sparse - gradient)
            self.multiplier1 = self.multiplier1 - MULTIPLIER_STEP * self.beta1 * (low_rank - self.u)
        self.cost.append(self._released_cost())
        self.n_inner += 1
        if self._is_settled():
            self._grow()
        else:
            self.gradient = gradient
            if self.n_inner == self.config.n_inner:
                self._grow()
        if len(self.cost) % N_CONVERGENCE_ITERATIONS == 0:
            self.is_converged = _norm(self.u - self.u_before) < self.config.tolerance * _norm(self.u)
            self.u_before = self.u

    def _solve(self, low_rank: Array, sparse: Array) -> Array:
        algorithm = ReleasedConjugateGradient(self, low_rank, sparse)
        while not algorithm.done():
            algorithm.update()
        image: Array = algorithm.x
        return image

    def _released_cost(self) -> float:
        config = self.config
        data = _norm(self.A(self.u) - self.y) ** 2
        length = np.abs(np.sqrt(np.sum(self.gradient**2, axis=0)))
        low_rank = config.weight_lowrank * self.shrink_spectrum.norm(self.u)
        return data + low_rank + config.weight_sparse * float(length.sum())

    def _is_settled(self) -> bool:
        if self.n_inner < 2:
            return False
        before, now = self.cost[-2:]
        return abs(now - before) < INNER_TOLERANCE * abs(now)

    def _grow(self) -> None:
        self.beta1 *= self.config.growth_lowrank
        self.beta2 *= self.config.growth_sparse
        self.n_outer, self.n_inner = self.n_outer + 1, 0

    def _done(self) -> bool:
        return self.is_converged or self.n_outer >= self.config.n_outer

    def measure(self, before: Array) -> tuple[float, float, float]:
        """The cost, the relative data residual, and the relative change from another series."""
        config = self.config
        data = _norm(self.A(self.u) - self.y)
        length = np.linalg.norm(self.D(self.u), axis=0)
        low_rank = config.weight_lowrank * self.shrink_spectrum.norm(self.u)
        cost = data**2 + low_rank + config.weight_sparse * float(length.sum())
        return cost, data / _norm(self.y), _norm(self.u - before) / _norm(self.u)


class NormalEquation:
    """The operator A^H A + w1 + w2 D^H D, which stores A u and D u of the last series u it was applied to."""

    def __init__(self, encoding: linop.Linop, difference: linop.Linop, weight1: float, weight2: float) -> None:
        self.A, self.D, self.weight1, self.weight2 = encoding, difference, weight1, weight2

    def __call__(self, direction: Array) -> Array:
        """Apply the operator to a series."""
        self.encoded, self.gradient = self.A(direction), self.D(direction)
        product: Array = self.A.H(self.encoded) + self.weight1 * direction + self.weight2 * self.D.H(self.gradient)
        return product


class ReleasedConjugateGradient(alg.ConjugateGradient):
    """Conjugate gradients for u with the stopping criterion of the released programs."""

    def __init__(self, outer: ReleasedKtSlr, low_rank: Array, sparse: Array) -> None:
        self.outer, self.low_rank = outer, low_rank
        config, is_auglag = outer.config, outer.config.mode == "auglag"
        self.tolerance = config.cg_tolerance if config.cg_tolerance is not None else (1e-7 if is_auglag else 1e-5)
        half1, half2 = config.weight_lowrank / 2, config.weight_sparse / 2
        self.weight1, self.weight2 = half1 * outer.beta1, half2 * outer.beta2
        right_side = outer.A.H(outer.y) + self.weight1 * low_rank - half1 * outer.multiplier1
        right_side = right_side + outer.D.H(self.weight2 * sparse - half2 * outer.multiplier2)
        max_iter = config.n_cg_iterations or (10 if is_auglag else 30)
        self.normal = NormalEquation(outer.A, outer.D, self.weight1, self.weight2)
        super().__init__(self.normal, right_side, outer.u.copy(), max_iter=max_iter)
        self.data_error, self.sparse_error = self.normal.encoded - outer.y, self.normal.gradient - sparse
        self.last_cost, self.is_settled = self._cost(), False

    def _update(self) -> None:
        super()._update()
        if self.not_positive_definite:
            return
        self.data_error += self.alpha * self.normal.encoded
        self.sparse_error += self.alpha * self.normal.gradient
        cost = self._cost()
        # the released loop evaluates the cost before each step, and therefore not after the last one
        self.is_settled = abs(cost - self.last_cost) < self.tolerance * abs(cost)
        self.last_cost = cost

    def _cost(self) -> float:
        outer, config = self.outer, self.outer.config
        low_rank_error = self.x - self.low_rank
        return (
            _norm(self.data_error) ** 2
            + self.weight1 * _norm(low_rank_error) ** 2
            + config.weight_lowrank * abs(complex(np.vdot(outer.multiplier1, low_rank_error)))
            + self.weight2 * sum(_norm(part) ** 4 for part in self.sparse_error)
            + config.weight_sparse * abs(complex(np.vdot(outer.multiplier2, self.sparse_error)))
        )

    def _done(self) -> bool:
        return self.is_settled or super()._done()


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))
