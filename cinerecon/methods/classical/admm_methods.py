"""Methods solved by ADMM (`admm`): k-t SLR, locally low rank, and temporal total variation."""

from cinerecon.methods.classical.admm import AdmmMethod, Penalty
from cinerecon.methods.classical.config import KtSlrConfig, LlrConfig, TtvConfig
from cinerecon.methods.classical.penalties import LowRankPenalty, TotalVariationPenalty


class KtSlr(AdmmMethod[KtSlrConfig]):
    """k-t SLR: low rank and a sparse gradient.

    Minimises over the series u

        1/2 ||A u - y||^2 + (mu / p) sum_i s_i(u)^p + tau (w_t ||D_t u||_1 + ||D_y u||_1 + ||D_x u||_1)

    with s_i the singular values of the Casorati matrix (voxels x frames), p <= 1, and D circular differences (not in
    time for a real-time series), by ADMM (`admm`), with data scaled so that the view-shared image has a peak of 1.

    References
    ----------
    Lingala et al., Accelerated dynamic MRI exploiting sparsity and low-rank structure: k-t SLR (2011),
    doi:10.1109/TMI.2010.2100850

    Departs from the paper in: the data term has a factor of 1/2; there are multipliers in addition to penalties, whose
    weights are therefore constant; the initial image is the view-shared image instead of A^H y; and in choices that
    improved cardiac cines, each of which a setting (in brackets) reverts: the difference in time has a larger weight
    than those in space (``temporal_weight=1``), differences are shrunk separately instead of the gradient as a vector
    (``isotropic=true``), the singular values are those of image blocks (voxels of a block x frames), placed at random
    in each iteration, instead of the whole image (``block_size=0``), the image is then the mean of the last iterates
    (``n_averaged=1``), and mu starts at a larger value and decreases (``continuation=1``). With ``block_size=0`` and
    ``isotropic=true`` the cost is half that of `ktslr-reference` with twice the weights and the inverse of w_t as its
    grid step in time.

    The defaults were tuned on phantoms of seeds 100 and 101 and one measured short-axis series (the base of the heart),
    of 16 frames, 8-fold Gaussian sampling, noise of 0.5 % of the peak. The optimum is flat: halving or doubling a
    weight costs at most 0.3 dB, also for noise of 2 %, pseudo-radial sampling and 8 coils. For stronger noise the
    weights grow (`noise_threshold`, chosen on one measured series); on this series, the gain is 6.3 dB for noise of 5 %
    of the peak, 8 coils and 8-fold Gaussian sampling.
    """

    config_class = KtSlrConfig
    n_series = 33.0

    def penalties(self, factor: float = 1.0, *, is_cyclic: bool = True) -> list[Penalty]:
        """Low rank and total variation."""
        return [
            LowRankPenalty(self.config, factor),
            TotalVariationPenalty(self.config, factor, is_cyclic=is_cyclic),
        ]


class Llr(AdmmMethod[LlrConfig]):
    """Locally low rank: the voxels of each small block of a cine have similar time courses.

    Minimises 1/2 ||A u - y||^2 + (mu / p) sum_blocks sum_i s_i(block of u)^p over the series u, by ADMM (`admm`), with
    a random tiling of blocks in each iteration and data scaled so that the view-shared image has a peak of 1.

    References
    ----------
    Trzasko and Manduca, Local versus global low-rank promotion in dynamic MRI series reconstruction, ISMRM 2011, 4371

    Zhang et al., Accelerating parameter mapping with a locally low rank constraint (2015), doi:10.1002/mrm.25161

    Departs from the papers in: a Schatten p-norm with p < 1 (``p=1`` gives the nuclear norm); the weight starts at a
    larger value and decreases (``continuation=1`` reverts this), and the image is the mean of the last iterates
    (``n_averaged=1`` reverts this).
    """

    config_class = LlrConfig
    n_series = 26.0

    def penalties(self, factor: float = 1.0, *, is_cyclic: bool = True) -> list[Penalty]:  # noqa: ARG002
        """The low-rank penalty only."""
        return [LowRankPenalty(self.config, factor)]


class Ttv(AdmmMethod[TtvConfig]):
    """Temporal total variation: the intensity of most voxels is nearly constant over time.

    Minimises 1/2 ||A u - y||^2 + tau (||D_t u||_1 + w_s ||D_y u||_1 + w_s ||D_x u||_1) over the series u, D
    circular differences (not in time for a real-time series), by ADMM (`admm`), with data scaled so that the
    view-shared image has a peak of 1.

    References
    ----------
    Feng et al., Golden-angle radial sparse parallel MRI (GRASP, 2014), doi:10.1002/mrm.24980: temporal total variation
    of free-breathing series

    Departs from the paper in: Cartesian sampling, cyclic frames, and spatial differences with a small weight
    (``spatial_weight=0`` omits them).
    """

    config_class = TtvConfig
    n_series = 32.0

    def penalties(self, factor: float = 1.0, *, is_cyclic: bool = True) -> list[Penalty]:
        """The total variation only."""
        return [TotalVariationPenalty(self.config, factor, is_cyclic=is_cyclic)]
