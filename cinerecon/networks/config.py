"""The settings of the networks: the architecture of each, with its defaults."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from cinerecon.config import Config
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName

MatrixView = Literal["casorati", "frames"]
Position = Literal["L1", "L2", "L3"]


class NetworkConfig(Config):
    """Settings of every unrolled network.

    Attributes
    ----------
    variants
        Defaults of each `variant`, which replace those of the fields.
    """

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    renamed: ClassVar[Mapping[str, str]] = {"output_gain": "output_weight_scale"}

    n_cascades: int = Field(default=10, ge=1, description="unrolled iterations")
    n_channels: int = Field(default=32, ge=1, description="feature channels")
    output_weight_scale: float = Field(
        default=1.0,
        gt=0,
        description="factor on the initial weights of output convolutions; with small values the network is initially "
        "close to the identity",
    )
    checkpointing: bool = Field(
        default=False, description="gradient checkpointing: recompute each cascade in the backward pass to save memory"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_defaults_of_the_variant(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**cls.variants.get(values.get("variant", ""), {}), **values}


class LowRankModuleConfig(ShrinkageConfig):
    """A low-rank module and its position in the cascades of a network."""

    renamed: ClassVar[Mapping[str, str]] = {"place": "position"}

    position: Position = Field(
        default="L2", description="L1: before the convolutions, L2: after the convolutions, L3: after data consistency"
    )
    view: MatrixView = Field(default="casorati", description="matrices whose singular values are shrunk")


class SlrNetConfig(ShrinkageConfig, NetworkConfig):
    """Architecture of SLR-Net."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "code": {"n_cascades": 10, "n_channels": 16, "shrinkage": "relative_soft", "coupling": 0.1}
    }

    variant: Literal["paper", "code"] = Field(
        default="paper", description="sign of the coupling: as in the paper (minus) or as in the released code (plus)"
    )
    n_cascades: int = Field(default=8, ge=1, description="unrolled iterations")
    step: float = Field(default=0.1, description="initial value of the gradient step")
    coupling: float = Field(default=0.0, description="initial weight of the low-rank coupling")
    sparse_threshold: float = Field(default=0.1, description="initial soft threshold of the features")
    multiplier_rate: float = Field(default=0.01, description="initial step size of the multiplier update")
    residual: bool = Field(default=True, description="add the input of the transform to its output")


class IstaNetConfig(NetworkConfig):
    """Architecture of ISTA-Net."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "snet": {"n_cascades": 10, "step": 1.0},
        "plus": {"n_cascades": 10, "n_channels": 16, "sparse_threshold": 0.01},
    }

    variant: Literal["slr_paper", "snet", "plus"] = Field(
        default="slr_paper", description="one of the three published networks of this name"
    )
    n_cascades: int = Field(default=8, ge=1, description="unrolled iterations")
    step: float = Field(default=0.1, description="initial value of the gradient step")
    sparse_threshold: float = Field(default=0.1, description="initial soft threshold of the features; snet has none")
    residual: bool = Field(default=True, description="add the input of the transform to its output; snet never does")
    lowrank: LowRankModuleConfig | None = Field(
        default=None, description="shrinkage of singular values in each cascade"
    )


class DcCnnConfig(NetworkConfig):
    """Architecture of DC-CNN."""

    renamed: ClassVar[Mapping[str, str]] = {"noise_level": "inverse_noise_level"}

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "d6c10": {"n_cascades": 10, "n_convolutions": 6, "n_channels": 16, "bias": False}
    }

    variant: Literal["d5c5", "d6c10"] = Field(
        default="d5c5", description="default settings: those of the paper, or those of UnrollingNets"
    )
    n_cascades: int = Field(default=5, ge=1, description="cascades")
    n_convolutions: int = Field(default=5, ge=2, description="convolutions in each cascade")
    n_dimensions: Literal[2, 3] = Field(
        default=3, description="dimensions of the convolutions: (frames, y, x) or (y, x)"
    )
    bias: bool = Field(default=True, description="whether the convolutions have a bias")
    slope: float = Field(
        default=0.0, ge=0, lt=1, description="slope of the activation for negative features; 0.01 for leaky ReLU"
    )
    inverse_noise_level: float | None = Field(
        default=None, gt=0, description="v, weight of the measured data; null: noiseless data"
    )
    lowrank: LowRankModuleConfig | None = Field(
        default=None, description="shrinkage of singular values in each cascade"
    )


class CrnnConfig(NetworkConfig):
    """Architecture of CRNN-MRI."""

    renamed: ClassVar[Mapping[str, str]] = {"noise_level": "inverse_noise_level"}

    n_cascades: int = Field(default=5, ge=1, description="unrolled iterations, which share their weights")
    n_channels: int = Field(default=64, ge=1, description="feature channels")
    n_layers: int = Field(default=3, ge=1, description="number of layers that are recurrent only over the iterations")
    inverse_noise_level: float | None = Field(
        default=None, gt=0, description="v, weight of the measured data; null: noiseless data"
    )
    lowrank: LowRankModuleConfig | None = Field(
        default=None, description="shrinkage of singular values in each iteration"
    )
    shared_lowrank: bool = Field(
        default=False, description="share the shrinkage parameter between all iterations, like the weights"
    )


class LsNetConfig(ShrinkageConfig, NetworkConfig):
    """Architecture of L+S-Net; the defaults are the authors' program."""

    shrinkage: ShrinkageName = Field(default="relative_soft", description="shrinkage rule for the singular values of L")
    step: float = Field(
        default=1.0, description="initial value of the gradient step gamma; in the last cascade it is fixed at 1"
    )
    output: Literal["L+S", "M"] = Field(
        default="L+S",
        description="output of the network and input of the loss: the sum L + S, or M, the image after data "
        "consistency",
    )


class T2lrNetConfig(ShrinkageConfig, NetworkConfig):
    """Architecture of T2LR-Net."""

    variant: Literal["admm", "gradient"] = Field(
        default="admm", description="solver: ADMM as in the paper, or gradient steps"
    )
    n_cascades: int = Field(default=15, ge=1, description="unrolled iterations")
    n_channels: int = Field(default=16, ge=1, description="feature channels")
    shrinkage: ShrinkageName = Field(
        default="relative_soft", description="shrinkage rule for the singular values of each frame"
    )
    step: float = Field(default=0.1, description="mu, initial weight of the data or gradient step")
    multiplier_rate: float = Field(default=1.0, description="ADMM: initial step size of the multiplier update")
    n_solver_steps: int = Field(
        default=10, ge=1, description="ADMM, multi-coil data: number of conjugate gradient steps"
    )


class JotlasNetConfig(ShrinkageConfig, NetworkConfig):
    """Architecture of JotlasNet."""

    n_cascades: int = Field(default=15, ge=1, description="unrolled iterations")
    n_channels: int = Field(default=16, ge=1, description="feature channels")
    shrinkage: ShrinkageName = Field(
        default="relative_soft", description="shrinkage rule for the singular values of each frame"
    )
    step: float = Field(default=0.1, description="initial value of the gradient step mu")
    momentum: float = Field(default=-2.0, description="initial value of t; the momentum is sigmoid(t)")
    learn_w: bool = Field(default=False, description="learn the weights w of the two priors; otherwise 0.5 each")


class PassNetConfig(ShrinkageConfig, NetworkConfig):
    """Architecture of PASSNet."""

    n_cascades: int = Field(default=15, ge=1, description="unrolled iterations; the paper compares 9, 13, 15 and 17")
    n_channels: int = Field(default=16, ge=1, description="feature channels")
    shrinkage: ShrinkageName = Field(default="pass", description="shrinkage rule for the singular values of each frame")
    step: float = Field(default=0.1, description="initial value of the gradient step mu")
    fusion: Literal["adaptive", "addition"] = Field(
        default="adaptive", description="fusion of the two parts into one image"
    )
    lsaf: Literal["magnitude", "residual4"] = Field(
        default="magnitude", description="input of the adaptive fusion; residual4 is combined with two gate_layers"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_gate_of_the_layout(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**({"gate_layers": 2} if values.get("lsaf") == "residual4" else {}), **values}


class StVarNetConfig(NetworkConfig):
    """Architecture of ST-VarNet."""

    n_cascades: int = Field(default=3, ge=1, description="unrolled iterations")
    n_channels: int = Field(default=64, ge=4, description="feature channels, at half the resolution")
    n_blocks: int = Field(default=2, ge=1, description="residual blocks in each cascade, with two convolutions each")
    n_cg_steps: int = Field(
        default=2, ge=1, description="conjugate gradient steps for data consistency (multi-coil data)"
    )
    carries_features: bool = Field(default=True, description="pass features from cascade to cascade")
    lowrank: ShrinkageConfig | None = Field(
        default=ShrinkageConfig(shrinkage="absolute_soft", prox_weight=0.25),
        description="singular value shrinkage of image blocks; null: none",
    )
    block_size: int = Field(default=16, ge=0, description="side of the low-rank blocks [pixels]; 0: the whole image")
    blend: float = Field(default=0.4, description="initial weight of the low-rank image in the image of a cascade")
