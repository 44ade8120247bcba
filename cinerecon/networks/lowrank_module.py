"""The plug-and-play low-rank module: singular value shrinkage by any rule, at a position in any unrolled network.

Ke et al., Learned Low-rank Priors in Dynamic MR Imaging, IEEE TMI 2021, doi:10.1109/TMI.2021.3096218, insert it into
ISTA-Net, DC-CNN and CRNN at three positions: before the convolutions (L1), after the convolutions (L2), or after the
gradient step or data consistency (L3).

PASS is a rule with learned weights: a small network computes the thresholds from the spectrum and the position of each
value in it. The paper (Position-aware adaptive singular-value shrinkage, under review,
openreview.net/forum?id=JwJiDLvJWm) has no public program. With the singular values s and a positional encoding p, both
arranged as images (frames x values), and convolution *:

    r = sigmoid(R * (s, p)),    m = GELU(M * s),    gamma = g * (r m),    s <- max(s - gamma, 0).

Departs from the paper in details that the paper does not specify: 3x3 convolutions without bias, with GELU between
them, in a layout that agrees with the published parameter counts (`gate_layers` 3) or another one (2); the last
convolution is initialised with zeros, so that PASS is initially the identity; the spectrum may first be scaled to a
largest value of 1 (`normalize_spectrum`), which makes PASS scale-equivariant. A singular value of zero, whose singular
vectors are undetermined, remains zero.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cinerecon.networks.config import LowRankModuleConfig, MatrixView, Position
from cinerecon.physics.lowrank import Measured, Shrinkage, Spectrum, make_rule, shrink_casorati, shrink_frames
from cinerecon.physics.shrinkage import ShrinkageConfig, initial_parameter


class PositionAware(nn.Module, Shrinkage):
    """Position-aware shrinkage (PASS) with learned convolutions.

    Parameters
    ----------
    n_channels
        Feature channels.
    gate_layers
        Number of convolutions of the gate r.
    normalize
        Whether the thresholds are computed from the spectrum scaled to a largest value of 1, and scaled back.
    tie_width
        See `Shrinkage`; equal singular values may have different thresholds.
    """

    def __init__(
        self, n_channels: int = 16, gate_layers: int = 3, normalize: bool = False, tie_width: float = 1e-6
    ) -> None:
        super().__init__()
        self.normalize, self.tie_width = normalize, tie_width
        self.gate = _convolutions(2, *gate_layers * (n_channels,))
        self.modulation = _convolutions(1, n_channels, n_channels)
        self.mix = nn.Conv2d(n_channels, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.mix.weight)  # initially the identity

    def measure(self, spectrum: Spectrum) -> Measured:
        """A threshold for each value, from adjacent values of the same matrix and of the matrices of other frames."""
        largest = spectrum.largest
        unit = torch.where(largest > 0, largest, 1.0) if self.normalize else torch.ones_like(largest)
        values = (spectrum.values / unit).to(self.mix.weight.dtype)
        n_alone = values.ndim - 1 - spectrum.n_sibling_axes
        images = values.reshape(values.shape[:n_alone].numel(), 1, -1, values.shape[-1])  # (batch, 1, siblings, values)
        return (unit * self._thresholds(images).view_as(values).to(unit.dtype),)

    def _thresholds(self, images: Tensor) -> Tensor:
        position = position_code(images.shape[-1]).to(images).expand_as(images)
        with torch.autocast(images.device.type, enabled=False):  # shrinkage always uses full precision
            gate = torch.sigmoid(self.gate(torch.cat((images, position), 1)))
            features: Tensor = self.mix(gate * functional.gelu(self.modulation(images)))
            return features

    def share(self, values: Tensor, *measured: Tensor) -> Tensor:
        """See `Shrinkage`."""
        (thresholds,) = measured
        positive = values > 0
        shares = functional.relu(values - thresholds) / torch.where(positive, values, 1.0)
        return torch.where(positive, shares, (thresholds <= 0).to(shares.dtype))


def position_code(n: int) -> Tensor:
    """sin(u_j / 10000^(j / n)) with u from 1 down to 0, j = 0 ... n - 1."""
    steps = torch.arange(n, dtype=torch.float64)
    return torch.sin(torch.linspace(1, 0, n, dtype=torch.float64) / 10_000 ** (steps / n))


def _convolutions(*channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class LowRankShrinkage(nn.Module):
    """Shrinkage of singular values by any rule.

    The parameter of the rule is learned as `level` (fixed for ``topk_hard``; rules that depend on the noise have none);
    the convolutions of PASS are in `position_aware`.

    Parameters
    ----------
    config
        The rule and its initial parameters.
    view
        ``casorati``: one matrix, voxels x frames; ``frames``: one matrix y x x per frame.
    """

    level: nn.Parameter | None

    def __init__(self, config: ShrinkageConfig, view: MatrixView = "casorati") -> None:
        super().__init__()
        self.config, self.view = config, view
        level = initial_parameter(config)
        start = None if level is None else nn.Parameter(torch.tensor(level), config.shrinkage != "topk_hard")
        self.register_parameter("level", start)
        self.position_aware: PositionAware | None = None
        if config.shrinkage == "pass":
            self.position_aware = PositionAware(gate_layers=config.gate_layers, normalize=config.normalize_spectrum)

    def rule_with(self, gain: Tensor | float) -> Shrinkage:
        """The rule with its threshold or level, if it has one, multiplied by a gain."""
        return self.position_aware or make_rule(self.config, self.level, gain)

    def forward(self, image: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """Shrink ``(*batch, frames, y, x)``; `gain` multiplies the threshold or the level of a rule that has one."""
        shrink = shrink_casorati if self.view == "casorati" else shrink_frames
        return shrink(image, self.rule_with(gain))


class LowRankAt(nn.Module):
    """The low-rank module of a network at one of its positions, or the identity."""

    def __init__(self, config: LowRankModuleConfig | None) -> None:
        super().__init__()
        self.position = config.position if config else None
        self.module = LowRankShrinkage(config, config.view) if config else None

    def forward(self, position: Position, image: Tensor) -> Tensor:
        """Shrink ``(*batch, frames, y, x)`` if the module is at this position."""
        return self.module(image) if self.module is not None and position == self.position else image
