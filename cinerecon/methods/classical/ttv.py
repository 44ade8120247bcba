"""Temporal total variation: the intensity of most voxels is nearly constant over time.

Minimises 1/2 ||A u - y||^2 + tau (||D_t u||_1 + w_s ||D_y u||_1 + w_s ||D_x u||_1) over the series u, D
circular differences (not in time for a real-time series), by ADMM (`admm`), with data scaled so that the view-shared
image has a peak of 1.

References
----------
Feng et al., Golden-angle radial sparse parallel MRI (GRASP, 2014), DOI 10.1002/mrm.24980: temporal total variation of
free-breathing series

Departs from the paper in: Cartesian sampling, a cine that ends where it begins, and spatial differences of little
weight (``spatial_weight=0`` leaves them out).
"""

from pydantic import Field

from cinerecon.methods.classical.admm import AdmmMethod, Penalty, SolverConfig, TotalVariationPenalty, VariationConfig


class TtvConfig(VariationConfig, SolverConfig):
    """Settings of temporal total variation. Weights are for images of peak 1; data of any scale are brought to it."""

    weight_sparse: float = Field(7e-4, ge=0, description="tau, weight of the total variation")
    temporal_weight: float = Field(1.0, ge=0, description="weight of the difference in time within it")
    spatial_weight: float = Field(0.2, ge=0, description="w_s, weight of the differences along y and x within it")
    penalty_sparse: float = Field(8e-2, gt=0, description="rho_D, coupling to the gradient variable")


class Ttv(AdmmMethod):
    """Temporal total variation."""

    config: TtvConfig

    def __init__(self, config: TtvConfig | None = None) -> None:
        super().__init__(config or TtvConfig())

    def penalties(self, *, is_cyclic: bool = True) -> list[Penalty]:
        """Total variation alone."""
        return [TotalVariationPenalty(self.config, is_cyclic=is_cyclic)]
