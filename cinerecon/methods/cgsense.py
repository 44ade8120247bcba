"""CG-SENSE: the least-squares image under the coil maps, frame by frame.

Solves argmin_x ||A x - y||^2 + w ||x||^2, that is (A^H A + w) x = A^H y, by conjugate gradients. A is normalised
(orthonormal transform, unit maps), so the largest eigenvalue of A^H A is at most 1, w is relative to it, and the
solution scales with the data.

References
----------
Pruessmann et al., Advances in sensitivity encoding with arbitrary k-space trajectories (2001), DOI 10.1002/mrm.1241

Departs from the paper in: Cartesian sampling only, hence no gridding, density or intensity correction; a Tikhonov term
in place of stopping early as the only regularisation.
"""

import torch
from pydantic import Field
from torch import Tensor

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.methods.base import Convergence, Progress, encoding_of


class CgSenseConfig(Config):
    """Settings of CG-SENSE."""

    weight_tikhonov: float = Field(default=1e-3, ge=0, description="weight of ||x||^2, relative to the norm of A^H A")
    n_iterations: int = Field(default=30, ge=1, description="most conjugate gradient steps")
    tolerance: float = Field(
        default=1e-5, ge=0, description="stop a frame once its residual has fallen to this fraction"
    )


class CgSense:
    """Conjugate gradient SENSE. Frames are separate problems, each with its own step sizes and its own end."""

    def __init__(self, config: CgSenseConfig | None = None) -> None:
        self.config = config or CgSenseConfig()
        self.convergence: Convergence | None = None

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)``."""
        config = self.config
        encoding = encoding_of(data)
        residual = encoding.adjoint(data.kspace)
        image = torch.zeros_like(residual)
        direction = residual
        power = _power(residual)
        goal = max(config.tolerance, torch.finfo(power.dtype).eps) ** 2 * power  # below that, rounding alone moves
        for step in range(config.n_iterations):
            normal = encoding.normal(direction) + config.weight_tikhonov * direction
            # A frame that has arrived stands still, so its result does not depend on the company it is solved in.
            length = torch.where(power > goal, power / _inner(direction, normal), 0)
            before, image = image, image + length * direction
            if self.convergence is not None:
                error = encoding.forward(image) - data.kspace
                self._record(self.convergence, error, data.kspace, image, before)
            residual = residual - length * normal
            power, previous = _power(residual), power
            direction = residual + torch.where(previous > 0, power / previous, 0) * direction
            if progress:
                progress(step + 1, config.n_iterations)
            if not (power > goal).any():
                break
        return image

    def _record(self, record: Convergence, error: Tensor, kspace: Tensor, image: Tensor, before: Tensor) -> None:
        """All frames together, since they go on side by side."""
        size = [float(torch.linalg.vector_norm(one)) for one in (error, image, kspace, image - before)]
        cost = size[0] ** 2 + self.config.weight_tikhonov * size[1] ** 2
        record.add(cost, size[0] / size[2], size[3] / size[1])


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each frame, ``(*batch, frames, 1, 1)``."""
    return (a.conj() * b).real.sum((-2, -1), keepdim=True)


def _power(a: Tensor) -> Tensor:
    return _inner(a, a)
