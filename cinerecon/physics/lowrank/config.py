"""Which shrinkage rule, and where its numbers begin: the settings that networks and classical methods inherit."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from cinerecon.config import Config
from cinerecon.errors import ConfigError
from cinerecon.physics.lowrank.rules import RelativeSoft, Shrinkage, TopKHard, TopKSoft

ShrinkageName = Literal["topk_hard", "topk_soft", "relative_soft"]


class ShrinkageConfig(Config):
    """A rule for the singular values."""

    shrinkage: ShrinkageName = Field("topk_hard", description="rule for the singular values")
    rank: int = Field(1, ge=1, description="k of the top-k rules, at the start")
    threshold: float = Field(-2.0, description="theta of the relative rule, at the start")


def start_level(config: ShrinkageConfig) -> float | None:
    """The number that a network may learn for the rule, at the start; None for a rule without one."""
    return config.threshold if config.shrinkage == "relative_soft" else float(config.rank)


def make_rule(config: ShrinkageConfig, level: Tensor | float | None = None, gain: Tensor | float = 1.0) -> Shrinkage:
    """The rule that the settings name.

    Parameters
    ----------
    config
        Settings.
    level
        The rule's main number in the place of the configured one, e.g. a learned parameter: k, theta, or the threshold.
    gain
        Factor on the threshold of a rule that has one.
    """
    match config.shrinkage:
        case "topk_hard":
            return TopKHard(config.rank if level is None else int(level))
        case "topk_soft":
            return TopKSoft(float(config.rank) if level is None else level)
        case "relative_soft":
            return RelativeSoft(config.threshold if level is None else level, gain)
    raise ConfigError(f"no rule is called '{config.shrinkage}'")
