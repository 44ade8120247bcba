"""The series under fixed split variables: solves (A^H A + K^H K) u = b, in closed form or by conjugate gradients.

In k-space the differences along y and x are numbers for each (ky, kx), and what one coil samples is a number for each
(frame, ky, kx): only the difference in time couples frames. Each k-space point leaves a symmetric system of the frames,

    (m_t + c) u_t + e (2 u_t - u_(t-1) - u_(t+1)) = b_t,      frames in a circle,

with m the sampling, c the other penalties at that point and e that of the difference in time; in a real-time series
the first and the last frame have one adjacent frame each. It is solved for all points at once by elimination from the
first frame to the last and back. That is exact for one coil and any Cartesian
mask. With several coils A^H A is no longer diagonal in k-space; its diagonal there takes the place of m and makes a
preconditioner (Koolstra et al., 10.1002/mrm.27371, here with the frames coupled as they are).
"""

from functools import reduce
from typing import Protocol

import torch
from torch import Tensor

from cinerecon.methods.classical.admm.differences import Coupling, difference_spectrum
from cinerecon.physics.operators import Encoding

_SAMPLES_AT_ONCE = 2**20  # so few that the coil images stay in the cache


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
    """Preconditioned conjugate gradient steps from the last series; the splitting forgives the rest.

    A^H A u is carried along from step to step, so that each costs one transform of the coils there and back.
    """

    def __init__(self, encoding: Encoding, coupling: Coupling, dtype: torch.dtype, n_steps: int) -> None:
        self.normal = PiecewiseNormal(encoding)
        self.coupling = coupling
        self.n_steps = n_steps
        self.preconditioner = KSpaceSystem(effective_sampling(encoding), coupling, encoding.matrix, dtype)
        self.normal_u: Tensor | None = None

    def __call__(self, b: Tensor, u: Tensor) -> Tensor:
        """See `ImageUpdate`; the last series is overwritten, and must be the one that the last call returned."""
        buffer = torch.empty_like(u)
        if self.normal_u is None:
            self.normal_u = self.normal(u)
        residual = self.coupling.add_to(self.normal_u.clone(), u, buffer).neg_().add_(b)
        direction, power = residual, None
        for _ in range(self.n_steps):
            better = self.preconditioner.solve_image(residual)
            power, previous = inner(residual, better), power
            direction = better if previous is None else better.add_(direction * (power / previous))
            normal = self.normal(direction)
            whole = self.coupling.add_to(normal.clone(), direction, buffer)
            curvature = inner(direction, whole)
            length = torch.where(curvature > 0, power / curvature, 0)
            u.addcmul_(direction, length)
            self.normal_u.addcmul_(normal, length)
            residual.addcmul_(whole, length, value=-1)
        return u


class PiecewiseNormal:
    """A^H A, a few frames at a time: the allocator takes fresh pages for each large temporary, thrice as slow."""

    def __init__(self, encoding: Encoding) -> None:
        y, x = encoding.matrix
        self.n_frames = max(1, _SAMPLES_AT_ONCE // (encoding.n_coils * y * x))
        self.pieces = encoding.split(self.n_frames)

    def __call__(self, u: Tensor) -> Tensor:
        """Apply it to ``(frames, y, x)``."""
        parts = zip(self.pieces, u.split(self.n_frames), strict=True)
        return torch.cat([piece.normal(part) for piece, part in parts])


def effective_sampling(encoding: Encoding) -> Tensor:
    """The diagonal of A^H A in k-space, ``(frames, ky, kx or 1)`` double: the mask blurred by the maps' spectra."""
    csm, mask = encoding.csm, encoding.mask[:, 0].double()
    if csm is None:
        return mask
    y, x = encoding.matrix
    spectra = (torch.fft.fft2(one.to(torch.complex128)).abs().square() for one in csm)  # coil by coil
    power = reduce(torch.add, spectra) / (y * x) ** 2
    if mask.shape[-1] == 1:
        power = power.sum(-1, keepdim=True)
    kernel: Tensor = torch.fft.ifft2(torch.fft.fft2(mask) * torch.fft.fft2(power).conj()).real.clamp(min=0)
    return kernel


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product."""
    return torch.vdot(a.flatten(), b.flatten()).real
