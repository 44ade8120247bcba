"""Two priors in learned domains: low rank, frame by frame, and sparse, with thresholds that attention determines.

T2LR-Net (doi:10.1016/j.compbiomed.2024.108034) uses the first; JotlasNet (doi:10.48550/arXiv.2502.11749) and PASSNet
use both.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import ConvStack, initialise_glorot, soft, to_channels, to_complex
from cinerecon.networks.lowrank_module import LowRankShrinkage
from cinerecon.physics.shrinkage import ShrinkageConfig


class LowRankBranch(nn.Module):
    """Shrinkage of the singular values of each frame in a learned domain: x + D2(SVT(D1(x))).

    Parameters
    ----------
    config
        The shrinkage rule.
    n_channels
        Feature channels between the convolutions; the learned domain itself is complex, like the image.
    """

    def __init__(self, config: ShrinkageConfig, n_channels: int) -> None:
        super().__init__()
        self.analysis = ConvStack((2, n_channels, n_channels, 2))
        self.lowrank = LowRankShrinkage(config, view="frames")
        self.synthesis = ConvStack((2, n_channels, n_channels, 2), to_image=True)
        initialise_glorot(self.analysis)
        initialise_glorot(self.synthesis)

    def forward(self, image: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """``(batch, frames, y, x)`` to the same; `gain` multiplies the threshold of a rule that has one."""
        features = to_complex(self.analysis(to_channels(image)))
        return image + to_complex(self.synthesis(to_channels(self.lowrank(features, gain))))


class AttentionThreshold(nn.Module):
    """Soft thresholding of each feature channel at a fraction of its mean magnitude that depends on all channels.

    f = mean |z| over frames, y and x; threshold = gain f sigmoid(W2 relu(W1 f + b1) + b2).
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(n_channels, n_channels)
        self.excite = nn.Linear(n_channels, n_channels)

    def forward(self, features: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """``(batch, channels, frames, y, x)`` to the same."""
        with torch.autocast(features.device.type, enabled=False):  # shrinkage uses at least single precision
            mean = features.to(self.squeeze.weight.dtype).abs().mean((-3, -2, -1))
            share = torch.sigmoid(self.excite(functional.relu(self.squeeze(mean))))
        return soft(features, (gain * mean * share)[..., None, None, None])


class SparseBranch(nn.Module):
    """Soft thresholding in a learned domain: x + E2(AST(E1(x)))."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.analysis = ConvStack((2, n_channels, n_channels, n_channels))
        self.attention = AttentionThreshold(n_channels)
        self.synthesis = ConvStack((n_channels, n_channels, n_channels, 2), to_image=True)
        initialise_glorot(self)

    def forward(self, image: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """``(batch, frames, y, x)`` to the same; `gain` multiplies the thresholds."""
        features = self.attention(self.analysis(to_channels(image)), gain)
        return image + to_complex(self.synthesis(features))
