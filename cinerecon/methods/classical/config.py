"""The settings of the classical methods, with their defaults."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cinerecon.config import Config
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName


class SolverConfig(Config):
    """Stopping rule of the solver, and its settings for several coils."""

    n_iterations: int = Field(default=40, ge=1, description="maximum number of iterations")
    tolerance: float = Field(
        default=1e-3, ge=0, description="stop when the relative change of the image falls below this value"
    )
    n_averaged: int = Field(
        default=7,
        ge=1,
        description="approximate number of iterations that are averaged if blocks are shifted randomly",
    )
    n_cg_iterations: int = Field(
        default=1, ge=1, description="conjugate gradient steps in each iteration (multi-coil data)"
    )
    noise_threshold: float = Field(
        default=9e-3,
        ge=0,
        description="noise level, relative to the peak, above which the weights increase with its square; 0: never",
    )


class LowRankConfig(ShrinkageConfig):
    """Settings of the low-rank penalty."""

    shrinkage: ShrinkageName = Field(default="schatten", description="shrinkage rule for the singular values")
    p: float = Field(default=0.1, gt=0, le=1, description="exponent of the Schatten norm; 1 is the convex nuclear norm")
    weight_lowrank: float = Field(
        default=4e-3, ge=0, description="mu, weight of the Schatten norm, nuclear norm, or nuclear minus Frobenius norm"
    )
    block_size: int = Field(
        default=16, ge=0, description="side length of the low-rank blocks [pixels]; 0: the whole image"
    )
    continuation: float = Field(
        default=20.0, ge=1, description="factor by which the low-rank weight is increased in the first iteration"
    )
    penalty_lowrank: float = Field(default=0.04, gt=0, description="rho_L, ADMM penalty of the low-rank variable")

    @field_validator("shrinkage", "prox_weight", "gate_layers", "normalize_spectrum")
    @classmethod
    def _is_not_learned(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if value == "pass" or (name != "shrinkage" and value != ShrinkageConfig.model_fields[name].default):
            raise ValueError("applies only to networks; here weight_lowrank sets the threshold")
        return value


class VariationConfig(Config):
    """Settings of the total variation."""

    weight_sparse: float = Field(default=1e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(
        default=3.0, ge=0, description="w_t, weight of temporal differences in the total variation"
    )
    spatial_weight: float = Field(
        default=1.0, ge=0, description="weight of the differences along y and x in the total variation"
    )
    isotropic: bool = Field(
        default=False, description="shrink the gradient as a vector (isotropic) instead of each difference separately"
    )
    penalty_sparse: float = Field(default=1.4e-3, gt=0, description="rho_D, ADMM penalty of the gradient variable")


class ZeroFilledConfig(Config):
    """Settings of zero filling: none."""


class ViewSharedConfig(Config):
    """Settings of view sharing: none."""


class CgSenseConfig(Config):
    """Settings of CG-SENSE."""

    weight_tikhonov: float = Field(default=1e-3, ge=0, description="weight of ||x||^2, relative to the norm of A^H A")
    n_iterations: int = Field(default=30, ge=1, description="maximum number of conjugate gradient steps")
    tolerance: float = Field(
        default=1e-5, ge=0, description="stop a frame when its relative residual falls below this value"
    )


class KtSlrConfig(LowRankConfig, VariationConfig, SolverConfig):
    """Settings of k-t SLR. Weights are for images of peak 1, to which data are scaled."""


class KtSlrReferenceConfig(Config):
    """Settings of the released programs, with the names used there in brackets."""

    mode: Literal["auglag", "continuation"] = Field(
        default="auglag", description="auglag: with Lagrange multipliers; continuation: with penalties only"
    )
    weight_lowrank: float = Field(default=1e-3, ge=0, description="mu1, weight of the Schatten p-norm")
    weight_sparse: float = Field(default=5e-4, ge=0, description="mu2, weight of the total variation")
    relative: bool = Field(
        default=True,
        description="scale the data to a peak of 1, to which the weights refer; otherwise the data are not scaled",
    )
    p: float = Field(default=0.1, gt=0, le=1, description="p; 1 is the convex nuclear norm")
    penalty_lowrank: float | None = Field(default=None, gt=0, description="initial beta1; default: 10 / s_1 of A^H y")
    penalty_sparse: float | None = Field(default=None, gt=0, description="initial beta2; default: 10 / peak of A^H y")
    growth_lowrank: float = Field(
        default=2.0, ge=1, description="factor by which beta1 grows after each outer iteration"
    )
    growth_sparse: float = Field(
        default=2.0, ge=1, description="factor by which beta2 grows after each outer iteration"
    )
    n_outer: int = Field(default=9, ge=1, description="outer iterations")
    n_inner: int = Field(default=10, ge=1, description="maximum number of inner iterations in each outer iteration")
    n_cg_iterations: int | None = Field(
        default=None,
        ge=1,
        description="maximum number of conjugate gradient steps in each inner iteration; default: 10, continuation: 30",
    )
    cg_tolerance: float | None = Field(
        default=None,
        ge=0,
        description="change of the cost at which the conjugate gradients stop; default: 1e-7, continuation: 1e-5",
    )
    tolerance: float = Field(
        default=0.0,
        ge=0,
        description="stop when ten inner iterations change the image by less than this fraction; 0: as in the "
        "released code",
    )
    steps: tuple[float, float, float] = Field(
        default=(0.303, 1.0, 1.0), description="step sizes of the finite differences along t, y, x"
    )


class LlrConfig(LowRankConfig, SolverConfig):
    """Settings of locally low rank. Weights are for images of peak 1, to which data are scaled."""

    block_size: int = Field(default=16, ge=1, description="side length of the blocks [pixels]")


class TtvConfig(VariationConfig, SolverConfig):
    """Settings of temporal total variation. Weights are for images of peak 1, to which data are scaled."""

    weight_sparse: float = Field(default=7e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(
        default=1.0, ge=0, description="weight of temporal differences in the total variation"
    )
    spatial_weight: float = Field(
        default=0.2, ge=0, description="w_s, weight of the differences along y and x in the total variation"
    )
    penalty_sparse: float = Field(default=8e-2, gt=0, description="rho_D, ADMM penalty of the gradient variable")


class LpsConfig(ShrinkageConfig):
    """Settings of L+S. Weights are for images of peak 1, to which data are scaled."""

    shrinkage: ShrinkageName = Field(default="relative_soft", description="shrinkage rule for the singular values of L")
    weight_lowrank: float = Field(
        default=0.05, ge=0, lt=1, description="lambda_L of the relative rule, as a fraction of s_1"
    )
    frozen: bool = Field(
        default=False, description="use s_1 of A^H y in all iterations, instead of s_1 of the current image"
    )
    weight_sparse: float = Field(default=0.007, ge=0, description="lambda_S, threshold of temporal frequencies")
    relative: bool = Field(
        default=True,
        description="scale the data to a peak of 1, to which the weights refer; otherwise the data are not scaled",
    )
    n_iterations: int = Field(default=100, ge=1, description="maximum number of iterations")
    tolerance: float = Field(
        default=5e-4, ge=0, description="stop when the relative changes of M and of the image fall below this value"
    )
    stop_by_mixture: bool = Field(default=False, description="stop when M converges, as in the authors' program")

    @field_validator("threshold")
    @classmethod
    def _is_a_share(cls, value: float) -> float:
        if value != ShrinkageConfig.model_fields["threshold"].default:
            raise ValueError("applies only to networks; here weight_lowrank is the threshold, relative to s_1")
        return value

    @model_validator(mode="after")
    def _only_a_share_is_frozen(self) -> "LpsConfig":
        if self.frozen and self.shrinkage != "relative_soft":
            raise ValueError(f"frozen needs the rule relative_soft, {self.shrinkage} has no threshold relative to s_1")
        return self
