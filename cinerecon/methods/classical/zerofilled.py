"""Zero filling: the image of the sampled points alone, A^H y."""

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import ClassicalMethod, Convergence, Progress, make_encoding
from cinerecon.methods.classical.config import ZeroFilledConfig
from cinerecon.physics.snr import zerofilled_noise


class ZeroFilled(ClassicalMethod):
    """A^H y: inverse transform of the sampled points, coils combined by their maps."""

    n_series = 6.5

    def __init__(self, config: ZeroFilledConfig | None = None) -> None:
        self.config = config or ZeroFilledConfig()

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:  # noqa: ARG002
        """See `ClassicalMethod.solve`; there are no iterations to record."""
        image = make_encoding(data).adjoint(data.kspace)
        if progress:
            progress(1, 1)
        return image

    def noise_std(self, data: CineData) -> Tensor | None:
        """See `Reconstructor.noise_std`; the sampled part of the noise, for any sampling."""
        if data.noise_std is None:
            return None
        return zerofilled_noise(data.mask, data.csm, data.noise_std).expand(data.n_frames, *data.matrix)
