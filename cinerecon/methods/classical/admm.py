"""ADMM for a penalised image series: one solver for k-t SLR, locally low rank and total variation.

Minimises 1/2 ||A u - y||^2 + sum_k g_k(K_k u). Each K_k u is split off as a variable z_k, and each iteration updates

    z_k = prox(K_k u + v_k),      v_k = v_k + K_k u - z_k,
    u = argmin 1/2 ||A u - y||^2 + sum_k rho_k/2 ||K_k u - z_k + v_k||^2.

Data are scaled so that the view-shared image, which is the initial image, has a peak of 1; all weights are therefore
dimensionless. They grow with the variance of the noise if its level, measured in the data, exceeds `noise_threshold`.

The solver stops when the relative change of the image is below `tolerance`, or after `n_iterations`. For convex
penalties, the cost decreases steadily after the first iterations and converges to the minimum. With randomly placed
blocks, the mean of the costs of all tilings is minimised, and the cost of one tiling is recorded: it decreases, and
then varies by a few percent because the iterates scatter around their mean. This mean is the image; its relative
changes settle between 1e-3 and 6e-3, so that `n_iterations` ends the run.

For fixed split variables, the series solves (A^H A + K^H K) u = b, in closed form or by conjugate gradients. In
k-space, the differences along y and x are diagonal, with one factor for each (ky, kx), and so is the sampling of one
coil, with one factor for each (frame, ky, kx); only the difference in time couples frames. Each k-space point therefore
has a symmetric system over the frames,

    (m_t + c) u_t + e (2 u_t - u_(t-1) - u_(t+1)) = b_t,      frames in a circle,

where m is the sampling, c the sum of the other penalties at that point, and e the weight of the difference in time; in
a real-time series, the first and the last frame have only one adjacent frame each. The systems of all points are solved
simultaneously by elimination from the first frame to the last and back-substitution. The solution is exact for one coil
and any Cartesian mask. With several coils, A^H A is no longer diagonal in k-space; its diagonal replaces m and yields a
preconditioner (Koolstra et al., doi:10.1002/mrm.27371, here including the coupling of the frames).
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
    relative_noise,
    view_shared_image,
)
from cinerecon.methods.classical.config import SolverConfig
from cinerecon.methods.classical.penalties import Coupling, difference_spectrum
from cinerecon.physics.operators import Encoding, norm

PARALLEL_SINE_SQUARED = 1e-4
"""Squared sine of the angle below which directions are treated as parallel; float32 rounding errors are 1e-6."""
PROXIMAL_WEIGHT = 1e-4
"""Weight of ||u - u_previous||^2 if no penalty depends on u itself, so that undetermined components do not change."""


S = TypeVar("S", bound=SolverConfig)


class ImageUpdate(Protocol):
    """Solves (A^H A + K^H K) u = b exactly or approximately."""

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:
        """The new series ``(frames, y, x)`` from the right-hand side and the previous series, which may be reused."""
        ...


def choose_image_update(encoding: Encoding, coupling: Coupling, dtype: torch.dtype, n_steps: int) -> ImageUpdate:
    """The closed-form solution for one coil; preconditioned gradient steps for several coils."""
    if encoding.csm is None:
        sampling = encoding.mask[:, 0].double()
        return ExactUpdate(KSpaceSystem(sampling, coupling, encoding.matrix, dtype))
    return GradientUpdate(encoding, coupling, dtype, n_steps)


class KSpaceSystem:
    """The systems over the frames at all k-space points, factorised as L diag(p) L^T, where the last row of L is full.

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
        time_diagonal = [2 * e if n_frames > 1 else 0.0] * n_frames  # the difference of a single frame is zero
        if not coupling.is_cyclic and n_frames > 1:
            time_diagonal[0] = time_diagonal[-1] = e
        shifts = (-(sampling.shape[-2] // 2), -(sampling.shape[-1] // 2))
        diagonal = sampling.roll(shifts, (-2, -1)) + space
        pivots = [frame + weight for frame, weight in zip(diagonal.unbind(), time_diagonal, strict=True)]
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
        """Solve for an image, by a transform to k-space and back."""
        solution: Tensor = torch.fft.ifft2(self.solve_(torch.fft.fft2(image)))
        return solution


def _for_both_parts(factor: Tensor, dtype: torch.dtype) -> Tensor:
    """Repeat each factor along kx for real and imaginary parts, which avoids its conversion in each complex product."""
    return factor.to(dtype.to_real()).repeat_interleave(2, -1)


class ExactUpdate:
    """The solution for one coil."""

    def __init__(self, system: KSpaceSystem) -> None:
        self.system = system

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:  # noqa: ARG002
        """See `ImageUpdate`; the previous series is not used."""
        return self.system.solve_image(b)


class GradientUpdate:
    """Preconditioned conjugate gradient steps from the previous series; later iterations reduce the remaining residual.

    Each step minimises over the plane spanned by the preconditioned residual and the previous step. For a constant
    right-hand side, this is the conjugate gradient method; here the search directions are kept when the right-hand side
    changes, so that a single step in each iteration suffices. (A^H A + K^H K) u is updated along with u, so that a step
    requires one forward and one inverse transform of the coil images.
    """

    def __init__(self, encoding: Encoding, coupling: Coupling, dtype: torch.dtype, n_steps: int) -> None:
        self.encoding = encoding
        self.coupling = coupling
        self.n_steps = n_steps
        self.preconditioner = KSpaceSystem(effective_sampling(encoding), coupling, encoding.matrix, dtype)
        self.product: Tensor | None = None
        self.last: tuple[Tensor, Tensor] | None = None

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:
        """See `ImageUpdate`; the previous series is overwritten, and must be the one that the last call returned."""
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
    """Step lengths along two directions that minimise 1/2 <u, M u> - <b, u>; the second is 0 if they are parallel.

    Parameters
    ----------
    residual
        The negative gradient b - M u, ``(frames, y, x)`` complex.
    step, last
        Directions d, each with M d, of the same shape; there is no second direction in the first step.

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
    """A penalty g(K u). It stores v and its part of the right-hand side of the image update, rho K^H (z - v)."""

    coupling: Coupling
    right_side: Tensor
    is_random: bool

    def initialise(self, u: Tensor) -> None:
        """Allocate memory for a series of the shape of u, with v = 0."""
        ...

    def update(self, u: Tensor, progress: float) -> None:
        """Update z and v for a new series; progress is between 0 and 1."""
        ...

    def cost(self, u: Tensor) -> float:
        """g(K u)."""
        ...


class AdmmMethod(ClassicalMethod[S]):
    """A method that minimises the data misfit plus penalties for one cine at a time, on the device of the data."""

    is_iterative = True

    @abstractmethod
    def penalties(self, factor: float = 1.0, *, is_cyclic: bool = True) -> list[Penalty]:
        """The penalties for images of peak 1, with weights times a factor; cyclic: the first frame follows the last."""

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
    """The factor on the weights of the penalties that accounts for the noise of a cine.

    For the maximum a posteriori estimate, the weights grow with the variance of the noise. Below a threshold, the model
    errors of the penalties are larger than the noise, and the weights are constant. The variance is multiplied by the
    fraction of the image that is determined by samples, which is the number of coils over the acceleration, at most 1.

    Parameters
    ----------
    data
        One cine, without batch axes.
    scale
        Peak of the image.
    threshold
        Noise level of a sample, relative to the scale, above which the weights grow; 0 means never.

    Returns
    -------
        The factor, at least 1.
    """
    if threshold == 0:
        return 1.0
    determined = min(1.0, data.n_coils * float(data.mask.double().mean()))
    return max(1.0, determined * (relative_noise(data, scale) / threshold) ** 2)


class AdmmIteration:
    """The variables of the module's equations, for a cine without batch axes, and their updates.

    The scale by which k-space is divided is applied to images only, so that k-space is not copied.
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
        """Update all variables once, and return the relative change of the image."""
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
