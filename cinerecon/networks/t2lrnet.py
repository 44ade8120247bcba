"""T2LR-Net: unrolled reconstruction with a tensor low-rank prior in a learned domain.

Zhang et al., T2LR-Net: An unrolling network learning transformed tensor low-rank prior for dynamic MR image
reconstruction, Computers in Biology and Medicine 2024, doi:10.1016/j.compbiomed.2024.108034. The singular values of
each frame of the transformed series are shrunk. In the ADMM of the paper, one cascade is

    A = x + L + D2(SVT(D1(x + L))),   x = argmin mu ||A x - y||^2 + ||x - (A - L)||^2,   L = L + eta (x - A).

`variant="gradient"` is the authors' later version for several coils: r = x - mu A^H (A x - y), x = r + D2(SVT(D1(r))).

Departs from the paper in: for several coils, where the minimum has no closed form, ADMM computes it by conjugate
gradients; any shrinkage rule may replace the learned soft threshold; an initial image may be given in place of the
zero-filled image.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import gradient_step
from cinerecon.networks.config import T2lrNetConfig
from cinerecon.networks.priors import LowRankBranch
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.cg import conjugate_gradients, inner_by_frame
from cinerecon.physics.operators import Encoding


class AdmmCascade(nn.Module):
    """One iteration of ADMM: low-rank part, data consistency, multiplier update."""

    def __init__(self, config: T2lrNetConfig) -> None:
        super().__init__()
        self.n_solver_steps = config.n_solver_steps
        self.lowrank = LowRankBranch(config, config.n_channels)
        self.step = nn.Parameter(torch.tensor(config.step))
        self.multiplier_rate = nn.Parameter(torch.tensor(config.multiplier_rate))

    def forward(
        self, zerofilled: Tensor, encoding: Encoding, image: Tensor, multiplier: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the next image and multiplier, each ``(batch, frames, y, x)``."""
        lowrank = self.lowrank(image + multiplier)
        weight = functional.relu(self.step)
        image = proximal_step(lowrank - multiplier, zerofilled, encoding, weight, self.n_solver_steps)
        return image, multiplier + functional.relu(self.multiplier_rate) * (image - lowrank)


class GradientCascade(nn.Module):
    """One gradient step on the data term, and the low-rank part."""

    def __init__(self, config: T2lrNetConfig) -> None:
        super().__init__()
        self.lowrank = LowRankBranch(config, config.n_channels)
        self.step = nn.Parameter(torch.tensor(config.step))

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor) -> Tensor:
        """``(batch, frames, y, x)`` to the same."""
        output: Tensor = self.lowrank(gradient_step(image, zerofilled, encoding, functional.relu(self.step)))
        return output


class T2lrNet(Unrolled[T2lrNetConfig]):
    """T2LR-Net; the defaults of `config` are the paper's."""

    config_class = T2lrNetConfig
    n_feature_series = 2.8

    def __init__(self, config: T2lrNetConfig | None = None) -> None:
        super().__init__(config)
        cascade = AdmmCascade if self.config.variant == "admm" else GradientCascade
        self.cascades = nn.ModuleList(cascade(self.config) for _ in range(self.config.n_cascades))
        if isinstance(self.cascades[-1], AdmmCascade):
            self.cascades[-1].multiplier_rate.requires_grad_(False)  # the last multiplier does not affect the output

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass the multiplier of ADMM, initially zero, from cascade to cascade. There are no extras."""
        if self.config.variant == "gradient":
            return super().unroll(run, image)
        multiplier = torch.zeros_like(image)
        for cascade in self.cascades:
            image, multiplier = run(cascade, image, multiplier)
        return image, {}


def proximal_step(image: Tensor, zerofilled: Tensor, encoding: Encoding, weight: Tensor, n_steps: int) -> Tensor:
    """The minimum over x of w ||A x - y||^2 + ||x - v||^2, that is v + w (1 + w A^H A)^-1 (A^H y - A^H A v).

    Without coil maps, A^H A is a projection, and the inverse is a division by 1 + w. With coil maps, conjugate
    gradients are used; all eigenvalues are between 1 and 1 + w, so that a few steps are sufficient.

    Parameters
    ----------
    image
        v, ``(batch, frames, y, x)``.
    zerofilled
        A^H y, ``(batch, frames, y, x)``.
    encoding
        The operator A.
    weight
        w, a number >= 0.
    n_steps
        Conjugate gradient steps.
    """
    residual = zerofilled - encoding.normal(image)
    solve: Callable[[Tensor, Tensor, Encoding, int], Tensor] = _Solve.apply
    change = residual / (1 + weight) if encoding.csm is None else solve(residual, weight, encoding, n_steps)
    return image + weight * change


class _Solve(torch.autograd.Function):
    """x = (1 + w A^H A)^-1 b, frame by frame; the derivative solves the same system, so that no step is stored."""

    @staticmethod
    def forward(ctx: Any, target: Tensor, weight: Tensor, encoding: Encoding, n_steps: int) -> Tensor:
        solution = _solve(target, weight, encoding, n_steps)
        ctx.save_for_backward(solution, weight)
        ctx.encoding, ctx.n_steps = encoding, n_steps
        return solution

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        solution, weight = ctx.saved_tensors
        by_target = _solve(grads[0], weight, ctx.encoding, ctx.n_steps)
        return by_target, -inner_by_frame(by_target, ctx.encoding.normal(solution)).sum(), None, None


def _solve(target: Tensor, weight: Tensor, encoding: Encoding, n_steps: int) -> Tensor:
    return conjugate_gradients(lambda image: image + weight * encoding.normal(image), target, n_steps)
