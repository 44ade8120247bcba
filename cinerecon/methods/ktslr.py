"""k-t SLR: a cine that is of low rank and has a sparse gradient, on SigPy's operators, proximals and algorithms.

Minimises over the series u

    1/2 ||A u - y||^2 + (mu / p) sum_i s_i(u)^p + tau (w_t ||D_t u||_1 + ||D_y u||_1 + ||D_x u||_1)

with s_i the singular values of the Casorati matrix (voxels x frames), p <= 1, and D circular differences. ADMM splits
the two penalties off: z = K u with K = (sqrt(rho_L) I, sqrt(rho_D) D), in turn

    u = argmin 1/2 ||A u - y||^2 + 1/2 ||K u - z + v||^2,      z = prox(K u + v),      v = v + K u - z.

With one coil and whole readouts the equation for u is solved exactly in k-space: the mask is the same along kx and D is
diagonal along (ky, kx), so each ky leaves one symmetric matrix (frames x frames), whose eigenvectors serve all kx.
Otherwise a few conjugate gradient steps, begun at the last u, do. Data are scaled so that the view-shared image
has a peak of 1, which makes all weights free of units.

References
----------
Lingala et al., Accelerated dynamic MRI exploiting sparsity and low-rank structure: k-t SLR (2011),
DOI 10.1109/TMI.2010.2100850

Departs from the paper in: the data term carries 1/2; ADMM with fixed penalties instead of continuation, from the
view-shared image instead of A^H y; and three choices that gained on cardiac cines, each of which a setting undoes: the
difference in time weighs more than those in space (``temporal_weight=1``), differences are shrunk one by one and not
the gradient as a vector (``isotropic=true``), and the singular values are those of image blocks (voxels of a block x
frames), placed anew at each iteration, and not of the whole image (``block_size=0``).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sigpy import alg, linop, prox
from torch import Tensor

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.methods.base import Progress, encoding_of
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.lowrank import Schatten, shrink_casorati, shrink_patches
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import view_share

Array = NDArray[Any]
Shape = tuple[int, ...]

_SAMPLES_AT_ONCE = 2**21


class KtSlrConfig(Config):
    """Settings of k-t SLR. Weights are for images of peak 1; data of any scale are brought to it."""

    weight_lowrank: float = Field(default=4e-3, ge=0, description="mu, weight of the Schatten p-norm")
    schatten_p: float = Field(default=0.1, gt=0, le=1, description="p; 1 is the convex nuclear norm")
    block_size: int = Field(default=16, ge=0, description="side of the low-rank blocks [pixels]; 0: the whole image")
    weight_sparse: float = Field(default=1.4e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(default=3.0, ge=0, description="w_t, weight of the difference in time within it")
    isotropic: bool = Field(default=False, description="shrink the gradient as a vector, not each difference")
    penalty_lowrank: float = Field(default=0.02, gt=0, description="rho_L, coupling to the low-rank variable")
    penalty_sparse: float = Field(default=1.4e-3, gt=0, description="rho_D, coupling to the gradient variable")
    n_iterations: int = Field(default=40, ge=1, description="ADMM iterations")
    n_cg_iterations: int = Field(default=3, ge=1, description="conjugate gradient steps in each (several coils)")


class KtSlr:
    """k-t SLR, one cine after the other. The work is done on the CPU, wherever the data lie."""

    def __init__(self, config: KtSlrConfig | None = None) -> None:
        self.config = config or KtSlrConfig()

    @torch.no_grad()
    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)``."""
        batch = data.kspace.shape[:-4]
        total, done = batch.numel() * self.config.n_iterations, 0

        def tick() -> None:
            nonlocal done
            done += 1
            if progress:
                progress(done, total)

        image = torch.empty(*batch, data.n_frames, *data.matrix, dtype=data.kspace.dtype, device=data.kspace.device)
        for item in np.ndindex(*batch):
            csm = None if data.csm is None else data.csm[item]
            image[item] = self._reconstruct(CineData(data.kspace[item], data.mask[item], csm).to("cpu"), tick)
        return image

    def _reconstruct(self, data: CineData, tick: Callable[[], None]) -> Tensor:
        shared = _view_shared_image(data)
        scale = shared.abs().max()
        if scale == 0:
            return shared
        encoding = encoding_of(data)
        splitting = _Splitting(encoding, encoding.adjoint(data.kspace / scale), shared / scale, self.config)
        admm = splitting.algorithm(self.config.n_iterations)
        while not admm.done():
            admm.update()
            tick()
        return torch.from_numpy(splitting.u) * scale


def _view_shared_image(data: CineData) -> Tensor:
    """The image ``(frames, y, x)`` of k-space filled along time."""
    everywhere = torch.ones_like(data.mask)
    encoding = Encoding(everywhere, data.csm, matrix=data.matrix, dtype=data.kspace.dtype)
    return encoding.adjoint(view_share(data.kspace, data.mask))


class _Splitting:
    """The variables u (the series), z and v of the module's equations, and their updates."""

    def __init__(self, encoding: Encoding, target: Tensor, start: Tensor, config: KtSlrConfig) -> None:
        shape = tuple(start.shape)
        weight_lowrank = config.weight_lowrank * config.penalty_lowrank ** (-config.schatten_p / 2)
        self.split = _Split(shape, config)
        weight_sparse = config.weight_sparse / math.sqrt(config.penalty_sparse)
        self.low_rank = _SchattenP(shape, weight_lowrank, config.schatten_p, config.block_size)
        self.sparse = _TotalVariation((3, *shape), weight_sparse, config.isotropic)
        self.solve = _choose_solver(encoding, self.split, config, start.real.dtype)
        self.target = target.numpy()
        self.u = start.numpy().copy()
        self.split_u = self.split(self.u)
        self.z = self.split_u.copy()
        self.v = np.zeros_like(self.z)

    def algorithm(self, n_iterations: int) -> alg.ADMM:
        """SigPy's loop over the updates, under the constraint K u - z = 0."""
        return alg.ADMM(
            minL_x=self.update_image,
            minL_z=self.update_split,
            x=self.u,
            z=self.z,
            u=self.v,
            A=lambda _: self.split_u,
            B=np.negative,
            c=0,
            max_iter=n_iterations,
        )

    def update_image(self) -> None:
        self.u[...] = self.solve(self.target + self.split.H(self.z - self.v), self.u)

    def update_split(self) -> None:
        self.split_u = self.split(self.u)
        moved = self.split_u + self.v
        self.z[0] = self.low_rank(1, moved[0])
        self.z[1:] = self.sparse(1, moved[1:])


class _Split(linop.Linop):
    """K: a series to (itself, its differences in time, along y, along x), each times the root of its penalty."""

    def __init__(self, shape: Shape, config: KtSlrConfig) -> None:
        root = math.sqrt(config.penalty_sparse)
        self.identity = math.sqrt(config.penalty_lowrank)
        self.differences = (config.temporal_weight * root, root, root)
        super().__init__((4, *shape), shape)

    def _apply(self, u: Array) -> Array:
        series = torch.from_numpy(u)
        out = torch.empty(self.oshape, dtype=series.dtype)
        torch.mul(series, self.identity, out=out[0])
        for axis, weight in enumerate(self.differences):
            torch.sub(series, series.roll(1, axis), out=out[axis + 1]).mul_(weight)
        return out.numpy()

    def _adjoint_linop(self) -> linop.Linop:
        return _SplitAdjoint(self)


class _SplitAdjoint(linop.Linop):
    """K^H."""

    def __init__(self, split: _Split) -> None:
        self.split = split
        super().__init__(split.ishape, split.oshape)

    def _apply(self, z: Array) -> Array:
        parts = torch.from_numpy(z)
        out = self.split.identity * parts[0]
        for axis, weight in enumerate(self.split.differences):
            out.add_(parts[axis + 1], alpha=weight)
            out.sub_(parts[axis + 1].roll(-1, axis), alpha=weight)
        return out.numpy()

    def _adjoint_linop(self) -> linop.Linop:
        return self.split


class _EncodingNormal(linop.Linop):
    """A^H A, a few frames at a time: above 32 MB the allocator takes fresh pages for each temporary, thrice as slow."""

    def __init__(self, encoding: Encoding, shape: Shape, dtype: torch.dtype) -> None:
        self.n_frames = max(1, _SAMPLES_AT_ONCE // (encoding.n_coils * shape[-2] * shape[-1]))
        pieces = encoding.mask.split(self.n_frames)
        self.encodings = [Encoding(mask, encoding.csm, matrix=encoding.matrix, dtype=dtype) for mask in pieces]
        super().__init__(shape, shape)

    def _apply(self, u: Array) -> Array:
        pieces = torch.from_numpy(u).split(self.n_frames)
        return torch.cat([one.normal(part) for one, part in zip(self.encodings, pieces, strict=True)]).numpy()

    def _adjoint_linop(self) -> linop.Linop:
        return self


Solver = Callable[[Array, Array], Array]
"""Solve (A^H A + K^H K) u = right side, from (right side, start)."""


def _choose_solver(encoding: Encoding, split: _Split, config: KtSlrConfig, real: torch.dtype) -> Solver:
    if encoding.csm is None and encoding.mask.shape[-1] == 1:
        return _ExactSolver(encoding, split, real)
    return _ConjugateGradientSolver(encoding, split, real, config.n_cg_iterations)


class _ConjugateGradientSolver:
    """A few steps towards the solution; ADMM forgives the rest."""

    def __init__(self, encoding: Encoding, split: _Split, real: torch.dtype, n_iterations: int) -> None:
        self.normal = _EncodingNormal(encoding, tuple(split.ishape), real.to_complex()) + split.N
        self.n_iterations = n_iterations

    def __call__(self, right_side: Array, start: Array) -> Array:
        algorithm = alg.ConjugateGradient(self.normal, right_side, start.copy(), max_iter=self.n_iterations)
        while not algorithm.done():
            algorithm.update()
        return algorithm.x


class _ExactSolver:
    """The solution for one coil and whole readouts, in k-space.

    There the matrix is diag(mask) + rho_D w_t^2 D_t^T D_t along the frames of each ky, plus a number for each (ky, kx).
    """

    def __init__(self, encoding: Encoding, split: _Split, real: torch.dtype) -> None:
        frames, y, x = split.ishape
        w_t, w_y, w_x = split.differences
        step = torch.eye(frames, dtype=torch.float64)
        step = w_t * (step - step.roll(1, 0))
        sampled = encoding.mask[:, 0, :, 0].mT.double()  # (ky, frames)
        values, vectors = torch.linalg.eigh(torch.diag_embed(sampled) + step.mT @ step)
        shift = split.identity**2 + w_y**2 * _difference_spectrum(y)[:, None] + w_x**2 * _difference_spectrum(x)
        self.inverse = (1 / (values[:, :, None] + shift[:, None, :])).to(real)[..., None]  # (ky, frames, kx, 1)
        self.vectors = vectors.to(real)  # (ky, frames, frames)

    def __call__(self, right_side: Array, _: Array) -> Array:
        kspace = torch.view_as_real(fft2c(torch.from_numpy(right_side)).transpose(0, 1).contiguous())
        modes = (self.vectors.mT @ kspace.flatten(-2)).view_as(kspace) * self.inverse
        solution = (self.vectors @ modes.flatten(-2)).view_as(kspace)
        return ifft2c(torch.view_as_complex(solution).transpose(0, 1).contiguous()).numpy()


def _difference_spectrum(n: int) -> Tensor:
    """Eigenvalues of D^T D for a circular difference of length n, zero frequency at n // 2."""
    frequency = torch.arange(n, dtype=torch.float64) - n // 2
    return 2 - 2 * torch.cos(2 * torch.pi * frequency / n)


class _SchattenP(prox.Prox):
    """Shrinkage of singular values for weight / p sum s^p, of the series or of blocks that move with each call."""

    def __init__(self, shape: Shape, weight: float, p: float, block_size: int) -> None:
        self.weight, self.p, self.block_size = weight, p, block_size
        self.random = np.random.default_rng(0)
        super().__init__(shape)

    def _prox(self, alpha: float, u: Array) -> Array:
        series = torch.from_numpy(u)
        rule = Schatten(alpha * self.weight, self.p)
        if self.block_size == 0:
            return shrink_casorati(series, rule).numpy()
        y, x = self.random.integers(self.block_size, size=2)
        return shrink_patches(series, rule, self.block_size, (int(y), int(x))).numpy()


class _TotalVariation(prox.Prox):
    """Shrinkage of differences ``(3, frames, y, x)``, each by its magnitude or together by the length of the vector."""

    def __init__(self, shape: Shape, weight: float, isotropic: bool) -> None:
        self.weight, self.isotropic = weight, isotropic
        super().__init__(shape)

    def _prox(self, alpha: float, z: Array) -> Array:
        differences = torch.from_numpy(z)
        length = torch.linalg.vector_norm(differences, dim=0) if self.isotropic else differences.abs()
        threshold = alpha * self.weight
        kept = 1 - threshold / length.clamp(min=max(threshold, torch.finfo(length.dtype).tiny))
        return (differences * kept).numpy()
