"""Settings of the shrinkage of singular values, which networks and classical methods inherit."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from cinerecon.config import Config

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

    shrinkage: ShrinkageName = Field("topk_hard", description="rule for the singular values")
    rank: int = Field(1, ge=1, description="k of the top-k rules, at the start")
    threshold: float = Field(
        -2.0, description="theta of the relative rule, at the start: sigmoid(theta) of the largest"
    )
    prox_weight: float = Field(
        0.1,
        ge=0,
        description="weight of the penalty whose proximal map the absolute, Schatten and nuclear-minus-Frobenius rules "
        "are, at the start",
    )
    p: float = Field(0.5, gt=0, le=1, description="exponent of the Schatten rule; 1 is soft thresholding")
    noise: float | None = Field(
        None, gt=0, description="noise of real and imaginary part, for the adaptive trace norm; null: unknown"
    )
    gate_layers: Literal[2, 3] = Field(3, description="convolutions of the gate of the position-aware rule")
    normalize_spectrum: bool = Field(False, description="position-aware rule: scale the largest value to 1 first")


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
