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

from cinerecon.methods.classical.admm import AdmmMethod, Penalty, TotalVariationPenalty
from cinerecon.methods.classical.config import TtvConfig


class Ttv(AdmmMethod):
    """Temporal total variation."""

    config: TtvConfig
    n_series = 32.0

    def __init__(self, config: TtvConfig | None = None) -> None:
        super().__init__(config or TtvConfig())

    def penalties(self, *, is_cyclic: bool = True) -> list[Penalty]:
        """Total variation alone."""
        return [TotalVariationPenalty(self.config, is_cyclic=is_cyclic)]
