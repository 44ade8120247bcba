"""The shrinkage rule that settings describe."""

from typing import get_args

from torch import Tensor

from cinerecon.errors import ConfigError, nearest_name
from cinerecon.physics.lowrank.adaptive import AdaptiveTraceNorm, OptimalShrinkage
from cinerecon.physics.lowrank.rules import (
    AbsoluteSoft,
    NuclearMinusFrobenius,
    RelativeSoft,
    Schatten,
    Shrinkage,
    TopKHard,
    TopKSoft,
)
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName, initial_parameter


def make_rule(config: ShrinkageConfig, parameter: Tensor | None = None, gain: Tensor | float = 1.0) -> Shrinkage:
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
        If the rule has learned weights, as PASS: only networks can use it.
    """
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
