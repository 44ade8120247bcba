"""JotlasNet: unrolled reconstruction with a tensor low-rank and an attention-based sparse prior in parallel.

Zhang et al., JotlasNet: Joint tensor low-rank and attention-based sparse unrolling network for accelerating dynamic
MRI, 2025, doi:10.48550/arXiv.2502.11749. One cascade is one iteration of the composite splitting algorithm: a gradient
step on the data term, the two priors in parallel, each in a learned domain, their weighted mean, and a momentum.

Departs from the paper in: the weights of the two priors are fixed at one half, as in the authors' program, unless
`learn_w` is set; any shrinkage rule may replace the learned soft threshold; an initial image may be given in place of
the zero-filled image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import gradient_step
from cinerecon.networks.config import JotlasNetConfig
from cinerecon.networks.priors import LowRankBranch, SparseBranch
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding


class Cascade(nn.Module):
    """One iteration: gradient step, low-rank and sparse part, their mean, momentum."""

    def __init__(self, config: JotlasNetConfig) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(config.step))
        self.lowrank = LowRankBranch(config, config.n_channels)
        self.sparse = SparseBranch(config.n_channels)
        self.w = nn.Parameter(torch.full((2,), 0.5), requires_grad=config.learn_w)
        self.momentum = nn.Parameter(torch.tensor(config.momentum))

    def forward(
        self, zerofilled: Tensor, encoding: Encoding, image: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the next image, mean, and parts L and S from image and previous mean, each ``(batch, frames, y, x)``.

        The threshold of the proximal map of a prior with weight w in the mean is divided by w.
        """
        image = gradient_step(image, zerofilled, encoding, functional.relu(self.step))
        w = torch.softmax(self.w, 0)
        lowrank = self.lowrank(image, 1 / w[0])
        sparse = self.sparse(image, 1 / w[1])
        mean = w[0] * lowrank + w[1] * sparse
        return mean + torch.sigmoid(self.momentum) * (mean - previous), mean, lowrank, sparse


class JotlasNet(Unrolled[JotlasNetConfig]):
    """JotlasNet; the defaults of `config` are those of the authors' program."""

    config_class = JotlasNetConfig
    n_feature_series = 4.0

    def __init__(self, config: JotlasNetConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass image and previous mean through all cascades. Extras: parts L and S of the last cascade."""
        previous = image
        for cascade in self.cascades:
            image, previous, lowrank, sparse = run(cascade, image, previous)
        return image, {"L": lowrank, "S": sparse}
