"""PASSNet: unrolled low-rank plus sparse reconstruction with position-aware singular value shrinkage.

The paper (Position-aware adaptive singular-value shrinkage, under review, openreview.net/forum?id=JwJiDLvJWm) has no
public program. One cascade takes a gradient step on the data term; shrinks the singular values of each frame in a
learned domain, each by an amount that a small network computes from the spectrum and the position in it (PASS);
shrinks features in another domain by thresholds that attention determines; and combines both parts voxel by voxel:
X = W L + (1 - W) S.

Departs from the paper in details that the paper does not specify: both parts have a residual connection to the gradient
step X~; the transforms and the attention are those of JotlasNet; PASS and the fusion have one of two layouts that
reproduce the published parameter counts (`lsaf`). With `fusion="addition"`, which is the paper's ablation, the residual
is counted once: X = L + S - X~. An initial image may be given in place of the zero-filled image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import ConvStack, gradient_step, initialise_glorot, to_channels
from cinerecon.networks.config import PassNetConfig
from cinerecon.networks.priors import LowRankBranch, SparseBranch
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding


class MagnitudeFusion(nn.Module):
    """W of each voxel, from the magnitudes of both parts: one convolution, two residual blocks, one convolution."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.head = ConvStack((2, n_channels))
        self.blocks = nn.ModuleList(ConvStack((n_channels, n_channels, n_channels)) for _ in range(2))
        self.tail = ConvStack((n_channels, 1))
        initialise_glorot(self)

    def forward(self, lowrank: Tensor, sparse: Tensor) -> Tensor:
        """Two images ``(batch, frames, y, x)`` to W, of the same shape, between 0 and 1."""
        features = self.head(torch.stack((lowrank.abs(), sparse.abs()), 1))
        for block in self.blocks:
            features = features + block(features)
        return torch.sigmoid(self.tail(features).to(lowrank.real.dtype)).squeeze(1)


class Residual4Fusion(nn.Module):
    """W of each voxel, from real and imaginary channels of both parts: one residual block, the mean of its output."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.block = ConvStack((4, *5 * (n_channels,), 4))
        initialise_glorot(self)

    def forward(self, lowrank: Tensor, sparse: Tensor) -> Tensor:
        """Two images ``(batch, frames, y, x)`` to W, of the same shape, between 0 and 1."""
        channels = torch.cat((to_channels(lowrank), to_channels(sparse)), 1)
        return torch.sigmoid((channels + self.block(channels)).to(lowrank.real.dtype).mean(1))


class Cascade(nn.Module):
    """One iteration: gradient step, low-rank and sparse part, fusion."""

    def __init__(self, config: PassNetConfig) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(config.step))
        self.lowrank = LowRankBranch(config, config.n_channels)
        self.sparse = SparseBranch(config.n_channels)
        self.fusion: nn.Module | None = None
        if config.fusion == "adaptive":
            layout = MagnitudeFusion if config.lsaf == "magnitude" else Residual4Fusion
            self.fusion = layout(config.n_channels)

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """``(batch, frames, y, x)`` to the same, and its parts L, S and W by name."""
        image = gradient_step(image, zerofilled, encoding, functional.relu(self.step))
        lowrank, sparse = self.lowrank(image), self.sparse(image)
        if self.fusion is None:
            return lowrank + sparse - image, {"L": lowrank, "S": sparse}
        weight = self.fusion(lowrank, sparse)
        return sparse + weight * (lowrank - sparse), {"L": lowrank, "S": sparse, "W": weight}


class PassNet(Unrolled[PassNetConfig]):
    """PASSNet; the defaults of `config` follow our interpretation of the paper."""

    config_class = PassNetConfig
    n_feature_series = 5.5

    def __init__(self, config: PassNetConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass the image through all cascades; the extras are the parts of the last one.

        They are the low-rank part L, the sparse part S and the fusion weight W. There is no W if L and S are added.
        """
        for cascade in self.cascades:
            image, parts = run(cascade, image)
        return image, parts
