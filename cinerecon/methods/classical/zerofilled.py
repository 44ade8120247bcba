"""Zero filling: the image of the sampled points alone, A^H y."""

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.methods.base import Progress, encoding_of


class ZeroFilledConfig(Config):
    """Zero filling has nothing to set."""


class ZeroFilled:
    """A^H y: inverse transform of the sampled points, coils combined by their maps. The floor of every comparison."""

    def __init__(self, config: ZeroFilledConfig | None = None) -> None:
        self.config = config or ZeroFilledConfig()

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)``."""
        image = encoding_of(data).adjoint(data.kspace)
        if progress:
            progress(1, 1)
        return image
