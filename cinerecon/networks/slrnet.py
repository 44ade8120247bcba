"""SLR-Net: unrolled sparse and low-rank reconstruction with a learned singular value threshold.

Ke et al., Learned Low-rank Priors in Dynamic MR Imaging, IEEE TMI 2021, 10.1109/TMI.2021.3096218. One cascade is one
iteration of Eq. 13: a gradient step on the data term and on the low-rank coupling, a learned sparsifying transform with
soft thresholding, shrinkage of the singular values of the Casorati matrix, and an update of the multiplier.

Departs from the paper in: the residual connection and the symmetry term of the training loss, which only the authors'
program has (`variant="code"` is that program, with the coupling added instead of subtracted); the first image may be
given instead of zero-filled; k may be learned through a sigmoid, because a hard count has no derivative.
"""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import ConvStack, initialise_he, soft, to_channels, to_complex
from cinerecon.networks.lowrank_module import LowRank
from cinerecon.physics.lowrank import ShrinkageConfig
from cinerecon.physics.operators import Encoding


class SlrNetConfig(ShrinkageConfig):
    """Architecture of SLR-Net."""

    variant: Literal["paper", "code"] = Field("paper", description="coupling as printed (minus) or as released (plus)")
    n_cascades: int = Field(8, ge=1, description="unrolled iterations")
    n_channels: int = Field(32, ge=1, description="feature channels of the sparsifying transform")
    step: float = Field(0.1, description="gradient step, at the start")
    coupling: float = Field(0.0, description="weight of the low-rank coupling, at the start")
    sparse_threshold: float = Field(0.1, description="soft threshold of the features, at the start")
    multiplier_rate: float = Field(0.01, description="rate of the multiplier update, at the start")
    residual: bool = Field(True, description="add the input of the transform to its output")
    output_gain: float = Field(1.0, description="factor on the initial weights of each cascade's last convolution")


RELEASED = SlrNetConfig(
    variant="code", n_cascades=10, n_channels=16, shrinkage="relative_soft", coupling=0.1, multiplier_rate=0.01
)
"""The authors' program, as released."""


class Cascade(nn.Module):
    """One iteration: gradient step, learned sparse transform, singular value shrinkage, multiplier update."""

    def __init__(self, config: SlrNetConfig) -> None:
        super().__init__()
        c = config.n_channels
        self.released = config.variant == "code"
        self.residual = config.residual
        self.step = nn.Parameter(torch.tensor(config.step))
        self.coupling = nn.Parameter(torch.tensor(config.coupling))
        self.sparse_threshold = nn.Parameter(torch.tensor(config.sparse_threshold))
        self.multiplier_rate = nn.Parameter(torch.tensor(config.multiplier_rate))
        self.lowrank = LowRank(config)
        self.analysis = ConvStack((2, c, c, c))
        self.synthesis = ConvStack((c, c, c, 2))
        initialise_he(self.analysis)
        initialise_he(self.synthesis, gain_last=config.output_gain)

    def descend(self, image: Tensor, gradient: Tensor, distance: Tensor) -> Tensor:
        """A step down the data term (gradient A^H(A x - y)) and the low-rank coupling (distance x + beta - T)."""
        if self.released:
            return image - functional.relu(self.step) * gradient + functional.relu(self.coupling) * distance
        return image - self.step * (gradient + self.coupling * distance)

    def sparsify(self, image: Tensor, *, symmetry: bool) -> tuple[Tensor, Tensor | None]:
        """The learned transform, thresholded, and back; with the symmetry residual D'(D(r)) - r if asked."""
        r = to_channels(image)
        features = self.analysis(r)
        out = self.synthesis(soft(features, self.sparse_threshold))
        return to_complex(out + r if self.residual else out), self.synthesis(features) - r if symmetry else None

    def update_multiplier(self, multiplier: Tensor, image: Tensor, lowrank: Tensor) -> Tensor:
        """Beta + eta (x - T)."""
        rate = functional.relu(self.multiplier_rate) if self.released else self.multiplier_rate
        return multiplier + rate * (image - lowrank)


class SlrNet(nn.Module):
    """The unrolled network ``net(kspace, encoding) -> image``.

    Parameters
    ----------
    config
        Architecture; the defaults are the paper's, `RELEASED` is the authors' program.
    """

    def __init__(self, config: SlrNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SlrNetConfig()
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))
        if self.config.variant == "code":  # the last T and beta reach no output; the released program freezes them
            last = cast(Cascade, self.cascades[-1])
            last.lowrank.requires_grad_(False)
            last.multiplier_rate.requires_grad_(False)

    def forward(
        self, kspace: Tensor, encoding: Encoding, *, start: Tensor | None = None, extras: bool = False
    ) -> Tensor | tuple[Tensor, dict[str, list[Tensor]]]:
        """Reconstruct.

        Parameters
        ----------
        kspace
            ``(batch, frames, coils, ky, kx)`` complex, zero where not sampled.
        encoding
            The operator that `kspace` was measured with.
        start
            ``(batch, frames, y, x)``, image and low-rank part before the first cascade; None means the zero-filled
            image, A^H y, and zero, as in the paper.
        extras
            Also return ``{"symmetry": [...]}``, one residual ``(batch, 2, frames, y, x)`` per cascade, for the loss.

        Returns
        -------
        Tensor
            ``(batch, frames, y, x)`` complex.
        """
        zerofilled = encoding.adjoint(kspace)
        image = zerofilled if start is None else start
        multiplier = torch.zeros_like(image)
        lowrank = multiplier if start is None else start
        symmetry = []
        for n, module in enumerate(self.cascades, start=1):
            cascade = cast(Cascade, module)
            gradient = encoding.normal(image) - zerofilled
            image = cascade.descend(image, gradient, image + multiplier - lowrank)
            image, residual = cascade.sparsify(image, symmetry=extras)
            if n < len(self.cascades):
                lowrank = cascade.lowrank(image)
                multiplier = cascade.update_multiplier(multiplier, image, lowrank)
            if residual is not None:
                symmetry.append(residual)
        return (image, {"symmetry": symmetry}) if extras else image
