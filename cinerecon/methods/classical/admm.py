"""ADMM for a series under penalties: one solver for k-t SLR, locally low rank and total variation.

Minimises 1/2 ||A u - y||^2 + sum_k g_k(K_k u). Each K_k u is split off as z_k; in turn

    z_k = prox(K_k u + v_k),      v_k = v_k + K_k u - z_k,
    u = argmin 1/2 ||A u - y||^2 + sum_k rho_k/2 ||K_k u - z_k + v_k||^2.

Data are scaled so that the view-shared image, from which it starts, has a peak of 1: all weights are free of units.
They grow with the variance of the noise where its level, measured in the data, exceeds `noise_threshold`.

It stops once the image changes by less than `tolerance` of itself, or after `n_iterations`. For convex penalties the
cost falls steadily after the first iterations, and to the minimum. Blocks placed at random minimise the mean of the
costs of all tilings, one of which is recorded: it falls, then varies by a few percent, as the iterates scatter
around their mean. That mean is the image; its changes end between 1e-3 and 6e-3, and `n_iterations` ends the run.

The series under fixed split variables solves (A^H A + K^H K) u = b, in closed form or by conjugate gradients.
In k-space the differences along y and x are numbers for each (ky, kx), and what one coil samples is a number for each
(frame, ky, kx): only the difference in time couples frames. Each k-space point leaves a symmetric system of the frames,

    (m_t + c) u_t + e (2 u_t - u_(t-1) - u_(t+1)) = b_t,      frames in a circle,

with m the sampling, c the other penalties at that point and e that of the difference in time; in a real-time series
the first and the last frame have one adjacent frame each. It is solved for all points at once by elimination from the
first frame to the last and back. That is exact for one coil and any Cartesian
mask. With several coils A^H A is no longer diagonal in k-space; its diagonal there takes the place of m and makes a
preconditioner (Koolstra et al., 10.1002/mrm.27371, here with the frames coupled as they are).
"""

from abc import abstractmethod
from functools import reduce
from typing import Protocol, TypeVar

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
from cinerecon.methods.classical.config import SolverConfig
from cinerecon.methods.classical.penalties import Coupling, difference_spectrum
from cinerecon.physics.noise import noise_level
from cinerecon.physics.operators import Encoding, norm

PARALLEL_SINE_SQUARED = 1e-4
"""Squared sine of the angle below which two directions count as parallel; rounding errors of float32 are 1e-6."""
N_COILS_FOR_NOISE = 4
"""Number of coils, about, from which the noise is estimated."""
PROXIMAL_WEIGHT = 1e-4
"""Weight of ||u - u_previous||^2 where no penalty depends on u itself: undetermined components stay unchanged."""


S = TypeVar("S", bound=SolverConfig)


class ImageUpdate(Protocol):
    """Solves (A^H A + K^H K) u = b, or comes nearer to it."""

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:
        """The new series ``(frames, y, x)``, from the right side and the last one, which may be overwritten."""
        ...


def choose_image_update(encoding: Encoding, coupling: Coupling, dtype: torch.dtype, n_steps: int) -> ImageUpdate:
    """The closed form for one coil; some preconditioned gradient steps for several."""
    if encoding.csm is None:
        sampling = encoding.mask[:, 0].double()
        return ExactUpdate(KSpaceSystem(sampling, coupling, encoding.matrix, dtype))
    return GradientUpdate(encoding, coupling, dtype, n_steps)


class KSpaceSystem:
    """The systems of the frames at all k-space points, factorised as L diag(p) L^T; L has a full last row.

    Parameters
    ----------
    sampling
        m, ``(frames, ky, kx or 1)`` double, zero frequency at index n // 2.
    coupling
        The penalties.
    matrix
        Image size (y, x).
    dtype
        Data type of the series.
    """

    def __init__(self, sampling: Tensor, coupling: Coupling, matrix: tuple[int, int], dtype: torch.dtype) -> None:
        spectra = [difference_spectrum(n).to(sampling.device) for n in matrix]
        space = coupling.identity + coupling.y * spectra[0][:, None] + coupling.x * spectra[1]
        n_frames, e = len(sampling), coupling.time
        own = [2 * e if n_frames > 1 else 0.0] * n_frames  # a single frame differs from itself by nothing
        if not coupling.is_cyclic and n_frames > 1:
            own[0] = own[-1] = e
        shifts = (-(sampling.shape[-2] // 2), -(sampling.shape[-1] // 2))
        diagonal = sampling.roll(shifts, (-2, -1)) + space
        pivots = [frame + its_own for frame, its_own in zip(diagonal.unbind(), own, strict=True)]
        to_next: list[Tensor] = []
        to_last: list[Tensor] = []
        corner = torch.full_like(pivots[0], -e if coupling.is_cyclic else 0.0)
        for t in range(n_frames - 1):
            is_neighbour = t == n_frames - 2
            corner = corner - e if is_neighbour else corner
            to_last.append(corner / pivots[t])
            pivots[-1] = pivots[-1] - to_last[-1] * corner
            if not is_neighbour:
                to_next.append(-e / pivots[t])
                pivots[t + 1] = pivots[t + 1] + to_next[-1] * e
                corner = to_last[-1] * e
        self.to_next = [_for_both_parts(factor, dtype) for factor in to_next]
        self.to_last = [_for_both_parts(factor, dtype) for factor in to_last]
        self.inverse_pivots = [_for_both_parts(1 / pivot, dtype) for pivot in pivots]

    def solve_(self, kspace: Tensor) -> Tensor:
        """Solve in place; k-space ``(frames, ky, kx)`` with zero frequency at index 0."""
        frames = torch.view_as_real(kspace).flatten(-2).unbind()
        for t, factor in enumerate(self.to_last):
            if t < len(self.to_next):
                frames[t + 1].addcmul_(frames[t], self.to_next[t], value=-1)
            frames[-1].addcmul_(frames[t], factor, value=-1)
        for frame, inverse in zip(frames, self.inverse_pivots, strict=True):
            frame.mul_(inverse)
        for t in reversed(range(len(self.to_last))):
            if t < len(self.to_next):
                frames[t].addcmul_(frames[t + 1], self.to_next[t], value=-1)
            frames[t].addcmul_(frames[-1], self.to_last[t], value=-1)
        return kspace

    def solve_image(self, image: Tensor) -> Tensor:
        """Solve for an image, between two transforms."""
        solution: Tensor = torch.fft.ifft2(self.solve_(torch.fft.fft2(image)))
        return solution


def _for_both_parts(factor: Tensor, dtype: torch.dtype) -> Tensor:
    """Each number twice along kx, for real and imaginary part: complex times real would convert it at each use."""
    return factor.to(dtype.to_real()).repeat_interleave(2, -1)


class ExactUpdate:
    """The solution for one coil."""

    def __init__(self, system: KSpaceSystem) -> None:
        self.system = system

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:  # noqa: ARG002
        """See `ImageUpdate`; the last series plays no part."""
        return self.system.solve_image(b)


class GradientUpdate:
    """Preconditioned conjugate gradient steps from the last series; the next iterations reduce the remaining residual.

    Each step minimises over the plane of the preconditioned residual and the step before it. For a constant right side
    this is the method of conjugate gradients; here it goes on from one right side to the next, so that a single step in
    each iteration suffices. (A^H A + K^H K) u is carried along: a step costs one transform of the coils there and back.
    """

    def __init__(self, encoding: Encoding, coupling: Coupling, dtype: torch.dtype, n_steps: int) -> None:
        self.encoding = encoding
        self.coupling = coupling
        self.n_steps = n_steps
        self.preconditioner = KSpaceSystem(effective_sampling(encoding), coupling, encoding.matrix, dtype)
        self.product: Tensor | None = None
        self.last: tuple[Tensor, Tensor] | None = None

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:
        """See `ImageUpdate`; the last series is overwritten, and must be the one that the last call returned."""
        if self.product is None:
            self.product = self._apply(u)
        residual = torch.sub(b, self.product)
        for _ in range(self.n_steps):
            step = self.preconditioner.solve_image(residual)
            product = self._apply(step)
            length, last_length = lengths_in_plane(residual, (step, product), self.last)
            step.mul_(length)
            product.mul_(length)
            if self.last is not None:
                step.addcmul_(self.last[0], last_length)
                product.addcmul_(self.last[1], last_length)
            self.last = step, product
            u.add_(step)
            self.product.add_(product)
            residual.sub_(product)
        return u

    def _apply(self, u: Tensor) -> Tensor:
        """(A^H A + K^H K) u."""
        return self.coupling.add_to(self.encoding.normal(u), u, torch.empty_like(u))


def lengths_in_plane(
    residual: Tensor, step: tuple[Tensor, Tensor], last: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Lengths along two directions at which 1/2 <u, M u> - <b, u> is lowest; the second is 0 where both are parallel.

    Parameters
    ----------
    residual
        The negative gradient b - M u, ``(frames, y, x)`` complex.
    step, last
        Directions d, each with M d, of the same shape; no second direction at the first step.

    Returns
    -------
    tuple[Tensor, Tensor]
        Two real numbers, ``()``.
    """
    slope, curvature = inner(residual, step[0]), inner(*step)
    alone = torch.where(curvature > 0, slope / curvature, 0)
    if last is None:
        return alone, torch.zeros_like(alone)
    last_slope, last_curvature, mixed = inner(residual, last[0]), inner(*last), inner(step[0], last[1])
    determinant = curvature * last_curvature - mixed**2
    is_plane = determinant > PARALLEL_SINE_SQUARED * curvature * last_curvature
    length = (slope * last_curvature - last_slope * mixed) / determinant
    last_length = (last_slope * curvature - slope * mixed) / determinant
    return torch.where(is_plane, length, alone), torch.where(is_plane, last_length, 0)


def effective_sampling(encoding: Encoding) -> Tensor:
    """The diagonal of A^H A in k-space, ``(frames, ky, kx or 1)`` double: the mask blurred by the maps' spectra."""
    csm, mask = encoding.csm, encoding.mask[:, 0].double()
    if csm is None:
        return mask
    y, x = encoding.matrix
    spectra = (torch.fft.fft2(coil_map.to(torch.complex128)).abs().square() for coil_map in csm)  # coil by coil
    power = reduce(torch.add, spectra) / (y * x) ** 2
    if mask.shape[-1] == 1:
        power = power.sum(-1, keepdim=True)
    kernel: Tensor = torch.fft.ifft2(torch.fft.fft2(mask) * torch.fft.fft2(power).conj()).real.clamp(min=0)
    return kernel


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product."""
    return torch.vdot(a.flatten(), b.flatten()).real


class Penalty(Protocol):
    """A penalty g(K u). It stores v and the right side of the image update, rho K^H (z - v)."""

    coupling: Coupling
    right_side: Tensor
    is_random: bool

    def initialise(self, u: Tensor) -> None:
        """Allocate memory for series like u, with v = 0."""
        ...

    def update(self, u: Tensor, progress: float) -> None:
        """Update z and v for a new series; progress is between 0 and 1."""
        ...

    def cost(self, u: Tensor) -> float:
        """g(K u)."""
        ...


class AdmmMethod(ClassicalMethod[S]):
    """A method that minimises data misfit and penalties, one cine after the other, on the device of the data."""

    is_iterative = True

    @abstractmethod
    def penalties(self, factor: float = 1.0, *, is_cyclic: bool = True) -> list[Penalty]:
        """The penalties, for images of peak 1, a factor on their weights; cyclic: the first frame follows the last."""

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """See `ClassicalMethod.solve`."""
        return reconstruct_each(data, lambda cine, report: self._iterate(cine, report, convergence), progress)

    def _iterate(self, data: CineData, progress: Progress, convergence: Convergence | None) -> Tensor:
        start = view_shared_image(data)
        scale = start.abs().max()
        if scale == 0:
            return start
        factor = noise_factor(data, float(scale), self.config.noise_threshold)
        penalties = self.penalties(factor, is_cyclic=not data.meta.is_real_time)
        splitting = AdmmIteration(make_encoding(data), data.kspace, start / scale, penalties, self.config, scale)
        for n in range(self.config.n_iterations):
            change = splitting.step((n + 1) / self.config.n_iterations)
            if convergence is not None:
                convergence.add(*splitting.measure(), change)
            progress(n + 1, self.config.n_iterations)
            if change < self.config.tolerance:
                break
        return splitting.image * scale


def noise_factor(data: CineData, scale: float, threshold: float) -> float:
    """The factor on the weights of penalties for the noise of a cine.

    The posterior mode needs weights that grow with the variance of the noise. Below a threshold, errors of the
    penalties as a model of the image are larger than the noise, and the weights are constant. The variance counts in
    proportion to the part of the image that is determined by samples, at most 1: `n_coils` samples over acceleration.

    Parameters
    ----------
    data
        One cine, without batch axes.
    scale
        Peak of the image.
    threshold
        Noise level of a sample, relative to the scale, above which the weights grow; 0: never.

    Returns
    -------
        At least 1.
    """
    if threshold == 0:
        return 1.0
    every = -(-data.n_coils // N_COILS_FOR_NOISE)
    level = float(noise_level(data.kspace[:, ::every], data.mask)) / scale
    determined = min(1.0, data.n_coils * float(data.mask.double().mean()))
    return max(1.0, determined * (level / threshold) ** 2)


class AdmmIteration:
    """The variables of the module's equations, for a cine without batch axes, and their updates.

    The scale, by which k-space is divided, is applied to images alone: k-space is not copied.
    """

    def __init__(
        self,
        encoding: Encoding,
        kspace: Tensor,
        start: Tensor,
        penalties: list[Penalty],
        config: SolverConfig,
        scale: Tensor | float = 1.0,
    ) -> None:
        self.encoding, self.kspace, self.penalties, self.scale = encoding, kspace, penalties, scale
        coupling = sum((penalty.coupling for penalty in penalties), Coupling())
        self.proximal_weight = 0.0 if coupling.identity else PROXIMAL_WEIGHT
        coupling = coupling + Coupling(identity=self.proximal_weight)
        self.update = choose_image_update(encoding, coupling, start.dtype, config.n_cg_iterations)
        self.target = encoding.adjoint(kspace).div_(scale)
        self.u, self.image = start, start.clone()
        self.buffer = torch.empty_like(start)
        for penalty in penalties:
            penalty.initialise(start)
        self.n_averaged = config.n_averaged if any(penalty.is_random for penalty in penalties) else 1
        self.n_steps = 0

    def step(self, progress: float) -> float:
        """One round of updates; returns the relative change of the image."""
        for penalty in self.penalties:
            penalty.update(self.u, progress)
        right_side = torch.add(self.target, self.u, alpha=self.proximal_weight, out=self.buffer)
        for penalty in self.penalties:
            right_side.add_(penalty.right_side)
        self.u = self.update(right_side, self.u)
        self.n_steps += 1
        share = 1 / min(self.n_steps, self.n_averaged)
        move = torch.sub(self.u, self.image, out=self.buffer)
        self.image.add_(move, alpha=share)
        return share * ratio(norm(move), norm(self.image))

    def measure(self) -> tuple[float, float]:
        """The cost, and ||A u - y|| / ||y||."""
        residual = self.encoding.relative_residual(self.u * self.scale, self.kspace)
        misfit = residual * norm(self.kspace) / float(self.scale)
        return misfit**2 / 2 + sum(penalty.cost(self.u) for penalty in self.penalties), residual
