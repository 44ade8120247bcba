"""DC-CNN: cascades of a residual convolutional network and data consistency.

Schlemper et al., A Deep Cascade of Convolutional Neural Networks for Dynamic MR Image Reconstruction, IEEE TMI 2018,
doi:10.1109/TMI.2017.2760978: x = x + CNN(x), followed by data consistency: the measured samples replace those of x, or
are averaged with them.

``d5c5``
    Five cascades of five convolutions with biases, in three dimensions or frame by frame.
``d6c10``
    Ten cascades of six convolutions without biases, 16 channels: the version of UnrollingNets, with which PASSNet is
    compared.

With `lowrank`, the plug-and-play module of Ke et al. (IEEE TMI 2021, doi:10.1109/TMI.2021.3096218) shrinks singular
values in each cascade, before the convolutions (L1), before data consistency (L2), or after it (L3): DC-CNN-LR.

Departs from the paper in: several coils, with data consistency in the k-space of each coil; an initial image may be
given in place of the zero-filled image.
"""

from torch import Tensor, nn

from cinerecon.networks.blocks import (
    ConvStack,
    data_consistency,
    initialise_glorot,
    initialise_he,
    to_channels,
    to_complex,
)
from cinerecon.networks.config import DcCnnConfig
from cinerecon.networks.lowrank_module import LowRankAt
from cinerecon.networks.unrolled import Unrolled
from cinerecon.physics.operators import Encoding


class Cascade(nn.Module):
    """A residual convolutional network, and data consistency."""

    def __init__(self, config: DcCnnConfig) -> None:
        super().__init__()
        self.inverse_noise_level = config.inverse_noise_level
        self.refine = ConvStack(
            (2, *(config.n_channels,) * (config.n_convolutions - 1), 2),
            slope=config.slope,
            bias=config.bias,
            n_dimensions=config.n_dimensions,
            to_image=True,
        )
        (initialise_he if config.variant == "d5c5" else initialise_glorot)(self.refine)
        self.lowrank = LowRankAt(config.lowrank)

    def forward(self, zerofilled: Tensor, encoding: Encoding, image: Tensor) -> Tensor:
        """``(batch, frames, y, x)`` to the same."""
        image = self.lowrank("L1", image)
        image = image + to_complex(self.refine(to_channels(image)))
        image = self.lowrank("L2", image)
        image = data_consistency(image, zerofilled, encoding, self.inverse_noise_level)
        output: Tensor = self.lowrank("L3", image)
        return output


class DcCnn(Unrolled[DcCnnConfig]):
    """DC-CNN; the defaults of `config` are those of ``d5c5``, or of the named variant."""

    config_class = DcCnnConfig
    n_feature_series = 2.0

    def __init__(self, config: DcCnnConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))
