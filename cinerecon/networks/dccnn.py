"""DC-CNN: cascades of a residual convolutional network and data consistency.

Schlemper et al., A Deep Cascade of Convolutional Neural Networks for Dynamic MR Image Reconstruction, IEEE TMI 2018,
10.1109/TMI.2017.2760978: x = x + CNN(x), then the measured samples replace those of x, or are averaged with them.

``d5c5``
    Five cascades of five convolutions with biases, in three dimensions or frame by frame.
``d6c10``
    Ten cascades of six convolutions without biases, 16 channels: the version of UnrollingNets, with which PASSNet is
    compared.

With `lowrank`, the plug-and-play module of Ke et al. (IEEE TMI 2021, 10.1109/TMI.2021.3096218) shrinks singular values
in each cascade, before the convolutions (L1), before data consistency (L2), or after it (L3): DC-CNN-LR.

Departs from the paper in: several coils, by data consistency in each coil's k-space; the first image may be given
instead of zero-filled.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from cinerecon.networks.blocks import (
    ConvStack,
    data_consistency,
    initialise_glorot,
    initialise_he,
    to_channels,
    to_complex,
)
from cinerecon.networks.lowrank_module import LowRankAt, LowRankModuleConfig
from cinerecon.networks.unrolled import NetworkConfig, Unrolled
from cinerecon.physics.operators import Encoding


class DcCnnConfig(NetworkConfig):
    """Architecture of DC-CNN."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "d6c10": {"n_cascades": 10, "n_convolutions": 6, "n_channels": 16, "bias": False}
    }

    variant: Literal["d5c5", "d6c10"] = Field("d5c5", description="defaults of the paper, or of UnrollingNets")
    n_cascades: int = Field(5, ge=1, description="cascades")
    n_convolutions: int = Field(5, ge=2, description="convolutions in each cascade")
    n_dimensions: Literal[2, 3] = Field(3, description="convolutions over (frames, y, x), or over (y, x)")
    bias: bool = Field(True, description="whether the convolutions have a bias")
    slope: float = Field(0.0, ge=0, lt=1, description="slope of the activation for negative features; 0.01 is leaky")
    noise_level: float | None = Field(None, gt=0, description="inverse noise level v of the data; none: noiseless")
    lowrank: LowRankModuleConfig | None = Field(None, description="shrinkage of singular values in each cascade")


class Cascade(nn.Module):
    """A residual convolutional network, and data consistency."""

    def __init__(self, config: DcCnnConfig) -> None:
        super().__init__()
        self.noise_level = config.noise_level
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
        image = data_consistency(image, zerofilled, encoding, self.noise_level)
        output: Tensor = self.lowrank("L3", image)
        return output


class DcCnn(Unrolled[DcCnnConfig]):
    """DC-CNN; the defaults of `config` are those of ``d5c5``, or of the named variant."""

    config_class = DcCnnConfig

    def __init__(self, config: DcCnnConfig | None = None) -> None:
        super().__init__(config)
        self.cascades = nn.ModuleList(Cascade(self.config) for _ in range(self.config.n_cascades))
