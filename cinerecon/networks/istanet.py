"""ISTA-Net: unrolled reconstruction with a learned sparsifying transform. Three networks have this name.

``slr_paper``
    The sparse part of SLR-Net, with which its paper compares SLR-Net (Ke et al., IEEE TMI 2021,
    doi:10.1109/TMI.2021.3096218): r = x - eta A^H (A x - y), x = D'(soft(D(r), lambda)), where D and D' have three
    convolutions each.
``snet``
    The sparse part of L+S-Net (Huang et al., Medical Image Analysis 2021, doi:10.1016/j.media.2021.102190), without a
    threshold: s = D(x), x = s - gamma A^H (A s - y); the image is the last s.
``plus``
    ISTA-Net+ (Zhang and Ghanem, CVPR 2018, doi:10.1109/CVPR.2018.00196) in the version of UnrollingNets, with which
    PASSNet is compared: as ``slr_paper``, with parameters restricted to nonnegative values by a ReLU.

With `lowrank`, the plug-and-play module of Ke et al. shrinks singular values in each cascade; with ``slr_paper`` that
is ISTA-LR-Net. L1: before the transform, but not in its residual connection. L2: after the transform. L3: after the
gradient step, which is the first operation of a cascade (the last one in ``snet``).

Departs from the papers in: the residual connection of ``slr_paper``, as in the released SLR-Net; the threshold of
``plus``, which in the released program starts at zero, where the gradient of its ReLU is zero, and never changes
(`RELEASED_PLUS`); the output of the module is the input of the next cascade; an initial image may be given in place of
the zero-filled image.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.blocks import (
    ConvStack,
    gradient_step,
    initialise_glorot,
    initialise_he,
    soft,
    to_channels,
    to_complex,
)
from cinerecon.networks.config import IstaNetConfig
from cinerecon.networks.lowrank_module import LowRankAt
from cinerecon.networks.unrolled import Extras, Unrolled, UnrolledPass
from cinerecon.physics.operators import Encoding

NEGATIVE_SLOPE = 0.3
"""Slope of the leaky ReLU of ``snet`` for negative features, as in the authors' program."""
RELEASED_PLUS = IstaNetConfig(variant="plus", sparse_threshold=0.0)
"""ISTA-Net+ as released: the threshold remains zero."""


class Cascade(nn.Module):
    """One iteration of ``slr_paper`` or ``plus``: a gradient step on the data term, and the learned transform."""

    def __init__(self, config: IstaNetConfig) -> None:
        super().__init__()
        c = config.n_channels
        self.is_plus = config.variant == "plus"
        self.residual = config.residual
        self.step = nn.Parameter(torch.tensor(config.step))
        self.sparse_threshold = nn.Parameter(torch.tensor(config.sparse_threshold))
        self.analysis = ConvStack((2, c, c, c))
        self.synthesis = ConvStack((c, c, c, 2), to_image=True)
        (initialise_glorot if self.is_plus else initialise_he)(self)
        self.lowrank = LowRankAt(config.lowrank)

    def forward(
        self, zerofilled: Tensor, encoding: Encoding, image: Tensor, symmetry: bool
    ) -> tuple[Tensor, Tensor | None]:
        """``(batch, frames, y, x)`` to the same, with the symmetry residual if requested."""
        learned: tuple[Tensor, Tensor] = self.step, self.sparse_threshold
        step, threshold = (functional.relu(value) for value in learned) if self.is_plus else learned
        image = gradient_step(image, zerofilled, encoding, step)
        image = self.lowrank("L3", image)
        features, residual = self.analyse(to_channels(self.lowrank("L1", image)), symmetry)
        sparse = to_complex(self.synthesis(soft(features, threshold)))
        image = image + sparse if self.residual else sparse
        return self.lowrank("L2", image), residual

    def analyse(self, channels: Tensor, symmetry: bool) -> tuple[Tensor, Tensor | None]:
        """The features, and the symmetry residual: the deviation of the transform and its inverse from the identity.

        ``slr_paper``: D'(D(r)) - r; ``plus``: the same without the first convolution of D and the last one of D'.
        """
        if not symmetry:
            return self.analysis(channels), None
        if not self.is_plus:
            features = self.analysis(channels)
            return features, self.synthesis(features) - channels
        first = self.analysis.run(channels, last=1)
        features = self.analysis.run(first, first=1)
        return features, self.synthesis.run(features, last=2) - first


class SNetCascade(nn.Module):
    """One iteration of ``snet``: the convolutions, then a gradient step on the data term (none in the last cascade)."""

    step: nn.Parameter | None

    def __init__(self, config: IstaNetConfig, *, is_last: bool) -> None:
        super().__init__()
        c = config.n_channels
        self.sparse = ConvStack((2, c, c, 2), slope=NEGATIVE_SLOPE, to_image=True)
        initialise_glorot(self.sparse)
        self.register_parameter("step", None if is_last else nn.Parameter(torch.tensor(config.step)))
        self.lowrank = LowRankAt(config.lowrank)

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor, _symmetry: bool) -> tuple[Tensor, None]:
        """``(batch, frames, y, x)`` to the same; there is no symmetry residual."""
        image = self.lowrank("L1", image)
        image = self.lowrank("L2", to_complex(self.sparse(to_channels(image))))
        if self.step is not None:
            image = gradient_step(image, zerofilled, encoding, functional.relu(self.step))
        return self.lowrank("L3", image), None


class IstaNet(Unrolled[IstaNetConfig]):
    """ISTA-Net; the defaults of `config` are those of ``slr_paper``, or of the named variant."""

    config_class = IstaNetConfig
    n_feature_series = 6.0

    def __init__(self, config: IstaNetConfig | None = None) -> None:
        super().__init__(config)
        n = self.config.n_cascades
        self.cascades = nn.ModuleList(
            SNetCascade(self.config, is_last=i == n - 1) if self.config.variant == "snet" else Cascade(self.config)
            for i in range(n)
        )

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Collect the symmetry residuals for the loss; ``snet`` has none.

        Extras: ``{"symmetry": [...]}``, one residual ``(batch, channels, frames, y, x)`` per cascade.
        """
        symmetry = []
        for cascade in self.cascades:
            image, residual = run(cascade, image, run.extras)
            if residual is not None:
                symmetry.append(residual)
        return image, {"symmetry": symmetry}
