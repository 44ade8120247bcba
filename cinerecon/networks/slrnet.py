"""SLR-Net: unrolled sparse and low-rank reconstruction with a learned singular value threshold.

Ke et al., Learned Low-rank Priors in Dynamic MR Imaging, IEEE TMI 2021, doi:10.1109/TMI.2021.3096218. One cascade is
one iteration of Eq. 13: a gradient step on the data term and on the low-rank coupling, a learned sparsifying transform
with soft thresholding, shrinkage of the singular values of the Casorati matrix, and an update of the multiplier.

Departs from the paper in: the residual connection and the symmetry term of the training loss, which are part of the
authors' program only (`variant="code"` is this program, in which the coupling is added instead of subtracted); an
initial image may be given in place of the zero-filled image; the number of singular values may be learned through a
sigmoid, because a hard count has no derivative.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import ConvStack, initialise_glorot, initialise_he, soft, to_channels, to_complex
from cinerecon.networks.config import SlrNetConfig
from cinerecon.networks.lowrank_module import LowRankShrinkage
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding

Iterates = tuple[Tensor, Tensor, Tensor]
"""Image x, low-rank part T and multiplier beta, each ``(batch, frames, y, x)`` complex."""
RELEASED = SlrNetConfig(variant="code")
"""The authors' program, as released."""


class Cascade(nn.Module):
    """One iteration: gradient step, learned sparse transform, singular value shrinkage, multiplier update.

    The last iteration omits shrinkage and update, which do not affect the image and are not trained in the released
    program.
    """

    def __init__(self, config: SlrNetConfig, *, is_last: bool = False) -> None:
        super().__init__()
        c = config.n_channels
        self.is_last = is_last
        self.released = config.variant == "code"
        self.residual = config.residual
        self.step = nn.Parameter(torch.tensor(config.step))
        self.coupling = nn.Parameter(torch.tensor(config.coupling))
        self.sparse_threshold = nn.Parameter(torch.tensor(config.sparse_threshold))
        self.multiplier_rate = nn.Parameter(torch.tensor(config.multiplier_rate))
        self.lowrank = LowRankShrinkage(config)
        self.analysis = ConvStack((2, c, c, c))
        self.synthesis = ConvStack((c, c, c, 2), to_image=True)
        (initialise_glorot if self.released else initialise_he)(self)
        if is_last and self.released:
            self.lowrank.requires_grad_(False)
            self.multiplier_rate.requires_grad_(False)

    def forward(
        self, zerofilled: Tensor, encoding: Encoding, state: Iterates, symmetry: bool
    ) -> tuple[Iterates, Tensor | None]:
        """Compute the next state, with the symmetry residual if requested."""
        image, lowrank, multiplier = state
        image = self.take_gradient_step(image, encoding.normal(image) - zerofilled, image + multiplier - lowrank)
        image, residual = self.sparsify(image, symmetry=symmetry)
        if not self.is_last:
            lowrank = self.lowrank(image)
            multiplier = self.update_multiplier(multiplier, image, lowrank)
        return (image, lowrank, multiplier), residual

    def take_gradient_step(self, image: Tensor, gradient: Tensor, distance: Tensor) -> Tensor:
        """A gradient step on the data term (gradient A^H(A x - y)) and on the coupling (distance x + beta - T)."""
        if self.released:
            return image - functional.relu(self.step) * gradient + functional.relu(self.coupling) * distance
        return image - self.step * (gradient + self.coupling * distance)

    def sparsify(self, image: Tensor, *, symmetry: bool) -> tuple[Tensor, Tensor | None]:
        """Soft thresholding in the learned domain; with the symmetry residual D'(D(r)) - r if requested."""
        r = to_channels(image)
        features = self.analysis(r)
        out = self.synthesis(soft(features, self.sparse_threshold))
        return to_complex(out + r if self.residual else out), self.synthesis(features) - r if symmetry else None

    def update_multiplier(self, multiplier: Tensor, image: Tensor, lowrank: Tensor) -> Tensor:
        """Beta + eta (x - T)."""
        rate = functional.relu(self.multiplier_rate) if self.released else self.multiplier_rate
        return multiplier + rate * (image - lowrank)


class SlrNet(Unrolled[SlrNetConfig]):
    """SLR-Net; the defaults of `config` are the paper's, `RELEASED` is the authors' program."""

    config_class = SlrNetConfig
    n_feature_series = 6.8

    def __init__(self, config: SlrNetConfig | None = None) -> None:
        super().__init__(config)
        n = self.config.n_cascades
        self.cascades = nn.ModuleList(Cascade(self.config, is_last=i == n - 1) for i in range(n))

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass image, low-rank part and multiplier through all cascades.

        The low-rank part is initially the given initial image; without one it is zero, as in the paper.
        Extras: ``{"symmetry": [...]}``, one residual ``(batch, 2, frames, y, x)`` per cascade, for the loss.
        """
        zeros = torch.zeros_like(image)
        state = (image, zeros if run.start is None else image, zeros)
        symmetry = []
        for cascade in self.cascades:
            state, residual = run(cascade, state, run.extras)
            if residual is not None:
                symmetry.append(residual)
        return state[0], {"symmetry": symmetry}
