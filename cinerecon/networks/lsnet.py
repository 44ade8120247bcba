"""L+S-Net: unrolled low-rank plus sparse reconstruction with a learned sparse part.

Huang et al., Deep low-rank plus sparse network for dynamic MR imaging, Medical Image Analysis 2021,
doi:10.1016/j.media.2021.102190. One cascade shrinks the singular values of the Casorati matrix of the image M to get
the low-rank part L, predicts the sparse part S from L and M by a convolutional network, and corrects their sum by a
gradient step on the data term: M = L + S - gamma A^H (A (L + S) - y).

Departs from the paper in: any shrinkage rule may replace the learned soft threshold, which is the default (`TOP1`,
another setting of the authors' program, keeps only the first singular value); an initial image may be given in place of
the zero-filled image.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import ConvStack, gradient_step, initialise_glorot, to_channels, to_complex
from cinerecon.networks.config import LsNetConfig
from cinerecon.networks.lowrank_module import LowRankShrinkage
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding

NEGATIVE_SLOPE = 0.3
"""Slope of the leaky ReLU for negative features, as in the authors' program."""
TOP1 = LsNetConfig(shrinkage="topk_hard", rank=1)
"""The authors' program without a learned threshold."""


class Cascade(nn.Module):
    """One iteration: low-rank part, sparse part, data correction."""

    def __init__(self, config: LsNetConfig) -> None:
        super().__init__()
        c = config.n_channels
        self.step = nn.Parameter(torch.tensor(config.step))
        self.lowrank = LowRankShrinkage(config)
        self.sparse = ConvStack((4, c, c, 2), slope=NEGATIVE_SLOPE, to_image=True)
        initialise_glorot(self.sparse)

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute L, S and the next M from M ``(batch, frames, y, x)``."""
        lowrank = self.lowrank(image)
        pair = torch.stack((to_channels(lowrank), to_channels(image)), 2).flatten(1, 2)  # Re L, Re M, Im L, Im M
        sparse = to_complex(self.sparse(pair))
        total = lowrank + sparse
        return lowrank, sparse, gradient_step(total, zerofilled, encoding, functional.relu(self.step))


class LsNet(Unrolled[LsNetConfig]):
    """L+S-Net; the defaults of `config` are those of the authors' program."""

    config_class = LsNetConfig
    n_feature_series = 2.8

    def __init__(self, config: LsNetConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))
        last = cast(Cascade, self.cascades[-1])
        last.step.requires_grad_(False).fill_(1.0)  # affects only M, which is not part of the loss

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass M from cascade to cascade. Extras: L, S and M of the last cascade, by these names."""
        for cascade in self.cascades:
            lowrank, sparse, image = run(cascade, image)
        result = image if self.config.output == "M" else lowrank + sparse
        return result, {"L": lowrank, "S": sparse, "M": image}
