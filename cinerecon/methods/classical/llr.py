"""Locally low rank: the voxels of each small block of a cine have similar time courses.

Minimises 1/2 ||A u - y||^2 + (mu / p) sum_blocks sum_i s_i(block of u)^p over the series u, by ADMM (`admm`), with a
random tiling of blocks in each iteration and data scaled so that the view-shared image has a peak of 1.

References
----------
Trzasko and Manduca, Local versus global low-rank promotion in dynamic MRI series reconstruction, ISMRM 2011, p. 4371
Zhang et al., Accelerating parameter mapping with a locally low rank constraint (2015), DOI 10.1002/mrm.25161

Departs from the papers in: a Schatten p-norm with p < 1 (``p=1`` gives the nuclear norm); the weight begins larger
(``continuation=1``), and the image is the mean of the last iterates (``n_averaged=1``).
"""

from cinerecon.methods.classical.admm import AdmmMethod, LowRankPenalty, Penalty
from cinerecon.methods.classical.config import LlrConfig


class Llr(AdmmMethod):
    """Locally low rank."""

    config: LlrConfig
    n_series = 26.0

    def __init__(self, config: LlrConfig | None = None) -> None:
        super().__init__(config or LlrConfig())

    def penalties(self, *, is_cyclic: bool = True) -> list[Penalty]:  # noqa: ARG002
        """Low rank alone."""
        return [LowRankPenalty(self.config)]
