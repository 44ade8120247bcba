"""Settings of singular value shrinkage for networks and classical methods, and the corresponding rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import Field

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    from torch import Tensor

    from cinerecon.physics.lowrank.rules import Shrinkage

ShrinkageName = Literal[
    "topk_hard",
    "topk_soft",
    "relative_soft",
    "absolute_soft",
    "schatten",
    "nuclear_minus_frobenius",
    "optimal",
    "adaptive_trace",
    "pass",
]


class ShrinkageConfig(Config):
    """A rule for the singular values."""

    renamed: ClassVar[Mapping[str, str]] = {"level": "prox_weight"}

    shrinkage: ShrinkageName = Field(default="topk_hard", description="shrinkage rule for the singular values")
    rank: int = Field(default=1, ge=1, description="initial k of the top-k rules")
    threshold: float = Field(
        default=-2.0,
        description="initial theta of the relative rule, whose threshold is sigmoid(theta) times the largest "
        "singular value",
    )
    prox_weight: float = Field(
        default=0.1,
        ge=0,
        description="initial weight of the penalty of the absolute, Schatten and nuclear-minus-Frobenius rules, which "
        "are proximal operators",
    )
    p: float = Field(default=0.5, gt=0, le=1, description="exponent of the Schatten rule; 1 is soft thresholding")
    noise: float | None = Field(
        default=None,
        gt=0,
        description="noise standard deviation of real and imaginary part, for the adaptive trace norm; null: unknown",
    )
    gate_layers: Literal[2, 3] = Field(
        default=3, description="number of convolutions in the gate of the position-aware rule"
    )
    normalize_spectrum: bool = Field(
        default=False, description="position-aware rule: first normalise the largest singular value to 1"
    )


def initial_parameter(config: ShrinkageConfig) -> float | None:
    """The initial value of the parameter that a network may learn for the rule; None for a rule without one."""
    match config.shrinkage:
        case "topk_hard" | "topk_soft":
            return float(config.rank)
        case "relative_soft":
            return config.threshold
        case "absolute_soft" | "schatten" | "nuclear_minus_frobenius":
            return config.prox_weight
    return None


def make_rule(config: ShrinkageConfig, parameter: "Tensor | None" = None, gain: "Tensor | float" = 1.0) -> "Shrinkage":
    """Create the rule of the settings.

    Parameters
    ----------
    config
        Settings.
    parameter
        A learned parameter that replaces the configured one: k, theta, or the weight.
    gain
        Factor on the threshold or the level of a rule that has one.

    Raises
    ------
    ConfigError
        If the rule has learned weights (PASS), since only networks can use it.
    """
    from cinerecon.physics.lowrank.rules import (
        AbsoluteSoft,
        AdaptiveTraceNorm,
        NuclearMinusFrobenius,
        OptimalShrinkage,
        RelativeSoft,
        Schatten,
        TopKHard,
        TopKSoft,
    )

    start = initial_parameter(config)
    number = parameter if parameter is not None else (0.0 if start is None else start)
    match config.shrinkage:
        case "topk_hard":
            return TopKHard(int(number))
        case "topk_soft":
            return TopKSoft(number)
        case "relative_soft":
            return RelativeSoft(number, gain)
        case "absolute_soft":
            return AbsoluteSoft(number * gain)
        case "schatten":
            return Schatten(number * gain, config.p)
        case "nuclear_minus_frobenius":
            return NuclearMinusFrobenius(number * gain)
        case "optimal":
            return OptimalShrinkage()
        case "adaptive_trace":
            return AdaptiveTraceNorm(config.noise)
    known = [name for name in get_args(ShrinkageName) if name != "pass"]
    raise ConfigError(f"'{config.shrinkage}' is learned by networks only", hint=nearest_name("", known))
