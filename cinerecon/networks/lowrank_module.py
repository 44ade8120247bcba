"""The plug-and-play low-rank module: singular value shrinkage by any rule, at a position in any unrolled network.

Ke et al., Learned Low-rank Priors in Dynamic MR Imaging, IEEE TMI 2021, 10.1109/TMI.2021.3096218, insert it into
ISTA-Net, DC-CNN and CRNN at three positions: before the convolutions (L1), after them (L2), or after the step that uses
the data (L3).
"""

import torch
from torch import Tensor, nn

from cinerecon.networks.config import LowRankModuleConfig, MatrixView, Position
from cinerecon.networks.position_aware import PositionAware
from cinerecon.physics.lowrank import Shrinkage, make_rule, shrink_casorati, shrink_frames
from cinerecon.physics.shrinkage import ShrinkageConfig, initial_parameter


class LowRankShrinkage(nn.Module):
    """Shrinkage of singular values by any rule.

    The parameter of the rule is learned as `level` (fixed for ``topk_hard``; the rules that the noise determines have
    none); the convolutions of PASS are in `position_aware`.

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

    @property
    def rule(self) -> Shrinkage:
        """The shrinkage rule with the current parameters."""
        return self.rule_with(1.0)

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
