"""The settings of the classical methods, with their defaults."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cinerecon.config import Config
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName


class SolverConfig(Config):
    """Stopping rule of the solver, and its settings for several coils."""

    n_iterations: int = Field(default=40, ge=1, description="largest number of iterations")
    tolerance: float = Field(
        default=1e-3, ge=0, description="stop once the image changes by less than this fraction of it"
    )
    n_averaged: int = Field(
        default=7,
        ge=1,
        description="number of iterations, approximately, that are averaged if blocks are shifted at random",
    )
    n_cg_iterations: int = Field(
        default=1, ge=1, description="conjugate gradient steps in each iteration (several coils)"
    )
    noise_threshold: float = Field(
        default=9e-3,
        ge=0,
        description="noise level, relative to the peak, above which the weights grow with its square; 0: never",
    )


class LowRankConfig(ShrinkageConfig):
    """Settings of the low-rank penalty."""

    shrinkage: ShrinkageName = Field(default="schatten", description="rule for the singular values")
    p: float = Field(default=0.1, gt=0, le=1, description="exponent of the Schatten norm; 1 is the convex nuclear norm")
    weight_lowrank: float = Field(
        default=4e-3, ge=0, description="mu, weight of the Schatten norm, nuclear norm, or nuclear minus Frobenius norm"
    )
    block_size: int = Field(default=16, ge=0, description="side of the low-rank blocks [pixels]; 0: the whole image")
    continuation: float = Field(default=20.0, ge=1, description="how many times larger that weight is at the start")
    penalty_lowrank: float = Field(default=0.04, gt=0, description="rho_L, coupling to the low-rank variable")

    @field_validator("shrinkage", "prox_weight", "gate_layers", "normalize_spectrum")
    @classmethod
    def _is_not_learned(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if value == "pass" or (name != "shrinkage" and value != ShrinkageConfig.model_fields[name].default):
            raise ValueError("for networks only; here weight_lowrank sets the level")
        return value


class VariationConfig(Config):
    """Settings of the total variation."""

    weight_sparse: float = Field(default=1e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(
        default=3.0, ge=0, description="w_t, weight of the difference in time in the total variation"
    )
    spatial_weight: float = Field(
        default=1.0, ge=0, description="weight of the differences along y and x in the total variation"
    )
    isotropic: bool = Field(default=False, description="shrink the gradient as a vector, not each difference")
    penalty_sparse: float = Field(default=1.4e-3, gt=0, description="rho_D, coupling to the gradient variable")


class ZeroFilledConfig(Config):
    """Settings of zero filling: none."""


class ViewSharedConfig(Config):
    """Settings of view sharing: none."""


class CgSenseConfig(Config):
    """Settings of CG-SENSE."""

    weight_tikhonov: float = Field(default=1e-3, ge=0, description="weight of ||x||^2, relative to the norm of A^H A")
    n_iterations: int = Field(default=30, ge=1, description="most conjugate gradient steps")
    tolerance: float = Field(
        default=1e-5, ge=0, description="stop a frame once its residual has fallen to this fraction"
    )


class KtSlrConfig(LowRankConfig, VariationConfig, SolverConfig):
    """Settings of k-t SLR. Weights are for images of peak 1; data of any scale are brought to it."""


class KtSlrReferenceConfig(Config):
    """Settings of the released programs; their names there in brackets."""

    mode: Literal["auglag", "continuation"] = Field(
        default="auglag", description="with multipliers, or with penalties alone"
    )
    weight_lowrank: float = Field(default=1e-3, ge=0, description="mu1, weight of the Schatten p-norm")
    weight_sparse: float = Field(default=5e-4, ge=0, description="mu2, weight of the total variation")
    relative: bool = Field(
        default=True, description="weights are for images of peak 1, to which the data are scaled; or as is"
    )
    p: float = Field(default=0.1, gt=0, le=1, description="p; 1 is the convex nuclear norm")
    penalty_lowrank: float | None = Field(
        default=None, gt=0, description="beta1 at the start; default 10 / s_1 of A^H y"
    )
    penalty_sparse: float | None = Field(
        default=None, gt=0, description="beta2 at the start; default 10 / peak of A^H y"
    )
    growth_lowrank: float = Field(default=2.0, ge=1, description="factor on beta1 after each outer iteration")
    growth_sparse: float = Field(default=2.0, ge=1, description="factor on beta2 after each outer iteration")
    n_outer: int = Field(default=9, ge=1, description="outer iterations")
    n_inner: int = Field(default=10, ge=1, description="most inner iterations in each")
    n_cg_iterations: int | None = Field(
        default=None, ge=1, description="most gradient steps in each; 10 or, continuation, 30"
    )
    cg_tolerance: float | None = Field(default=None, ge=0, description="change of cost that ends them; 1e-7 or 1e-5")
    tolerance: float = Field(
        default=0.0,
        ge=0,
        description="stop once ten inner iterations change the image by less than this fraction; 0: as released",
    )
    steps: tuple[float, float, float] = Field(
        default=(0.303, 1.0, 1.0), description="grid steps of the differences: t, y, x"
    )


class LlrConfig(LowRankConfig, SolverConfig):
    """Settings of locally low rank. Weights are for images of peak 1; data of any scale are brought to it."""

    block_size: int = Field(default=16, ge=1, description="side of the blocks [pixels]")


class TtvConfig(VariationConfig, SolverConfig):
    """Settings of temporal total variation. Weights are for images of peak 1; data of any scale are brought to it."""

    weight_sparse: float = Field(default=7e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(
        default=1.0, ge=0, description="weight of the difference in time in the total variation"
    )
    spatial_weight: float = Field(
        default=0.2, ge=0, description="w_s, weight of the differences along y and x in the total variation"
    )
    penalty_sparse: float = Field(default=8e-2, gt=0, description="rho_D, coupling to the gradient variable")


class LpsConfig(ShrinkageConfig):
    """Settings of L+S. Weights are for images of peak 1; data of any scale are brought to it."""

    shrinkage: ShrinkageName = Field(default="relative_soft", description="rule for the singular values of L")
    weight_lowrank: float = Field(
        default=0.05, ge=0, lt=1, description="lambda_L of the relative rule, as a share of s_1"
    )
    frozen: bool = Field(default=False, description="take s_1 of A^H y throughout, not that of each iteration")
    weight_sparse: float = Field(default=0.007, ge=0, description="lambda_S, threshold of temporal frequencies")
    relative: bool = Field(
        default=True, description="weights are for images of peak 1, to which the data are scaled; or as is"
    )
    n_iterations: int = Field(default=100, ge=1, description="largest number of iterations")
    tolerance: float = Field(default=5e-4, ge=0, description="stop once M changes by less than this share of it")

    @field_validator("threshold")
    @classmethod
    def _is_a_share(cls, value: float) -> float:
        if value != ShrinkageConfig.model_fields["threshold"].default:
            raise ValueError("for networks only; here weight_lowrank is the threshold, relative to s_1")
        return value

    @model_validator(mode="after")
    def _only_a_share_is_frozen(self) -> "LpsConfig":
        if self.frozen and self.shrinkage != "relative_soft":
            raise ValueError(f"frozen needs the rule relative_soft, {self.shrinkage} has no threshold relative to s_1")
        return self
