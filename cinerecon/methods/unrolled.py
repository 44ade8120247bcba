"""Any unrolled network as a reconstruction method: recipe, weights, scale, batch axis, device.

Scale lives here and nowhere else: data are divided by the brightness of their time average, which an undersampled scan
shows nearly as a full one does, and the image is multiplied back.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.config import Config, nearest_name, read_yaml
from cinerecon.data.cine import CineData
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.methods.base import Progress, Reconstructor, models_folder
from cinerecon.physics.coils import time_average
from cinerecon.physics.operators import Encoding

RECIPE = "model.yaml"
WEIGHTS = "weights.safetensors"


class StartConfig(Config):
    """The method that makes the image an unrolled network starts from."""

    method: str = Field(description="a classical method")
    settings: tuple[str, ...] = Field((), description="key=value texts for it")


class ModelConfig(Config):
    """A network and how it is run: the part of ``model.yaml`` that reconstruction needs."""

    network: str = Field(description="name of the network")
    architecture: dict[str, Any] = Field(default_factory=dict, description="settings of the network")
    start: StartConfig | None = Field(None, description="makes the first image; without it, it is zero-filled")
    intake: dict[str, Any] = Field(default_factory=dict, description="how raw data are prepared, as in training")
    training: Any = Field(None, description="how it was trained")
    zeroed: tuple[str, ...] = Field((), description="ablation: parameters set to zero, by the last part of their name")


class Unrolled:
    """A network behind the door of the methods.

    Parameters
    ----------
    net
        The network, with its weights.
    config
        What it is.
    start
        Makes the image the network starts from; None means the zero-filled one.
    device
        Where it runs.
    """

    def __init__(
        self,
        net: nn.Module,
        config: ModelConfig,
        start: Reconstructor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.start = start
        self.net = net.to(device).eval()
        self.config = config
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)``, cine by cine, in the units of A^H y."""
        batch = data.kspace.shape[:-4]
        image = torch.empty(*batch, data.n_frames, *data.matrix, dtype=data.kspace.dtype, device=data.kspace.device)
        for n, item in enumerate(np.ndindex(*batch)):
            csm = None if data.csm is None else data.csm[item]
            one = CineData(data.kspace[item], data.mask[item], csm).to(self.device)
            tell = _part(progress, n, batch.numel())
            image[item] = self._reconstruct(one, tell)
            tell(1, 1)
        return image

    def _reconstruct(self, data: CineData, progress: Progress) -> Tensor:
        average = time_average(data.kspace, data.mask).unsqueeze(-4)
        everywhere = torch.ones_like(data.mask[:1])
        scale = image_scale(Encoding(everywhere, data.csm, matrix=data.matrix).adjoint(average))
        start = None
        if self.start:
            start = self.start(data, lambda done, total: progress(done, total + 1))[None] / scale
        csm = None if data.csm is None else data.csm[None]
        encoding = Encoding(data.mask[None], csm, matrix=data.matrix)
        return self.net(data.kspace[None] / scale, encoding, start=start)[0] * scale


def _part(progress: Progress | None, n: int, n_parts: int) -> Progress:
    """Progress of part n of several, in percent of the whole."""

    def tell(done: int, total: int) -> None:
        if progress:
            progress(int(100 * (n + done / total)), 100 * n_parts)

    return tell


def image_scale(image: Tensor) -> Tensor:
    """How bright a cine ``(frames, y, x)`` is: the 99.5th percentile of the magnitude of its mean over time."""
    brightness = torch.quantile(image.mean(0).abs().flatten(), 0.995)
    return brightness.clamp(min=torch.finfo(brightness.dtype).tiny)


def build_unrolled(
    source: str,
    settings: Sequence[str] = (),
    *,
    load: Callable[[str, Sequence[str]], Reconstructor],
    device: torch.device | str = "cpu",
    weights: Path | None = None,
) -> Unrolled:
    """Load a network from a folder with recipe and weights.

    Parameters
    ----------
    source
        Name of a folder under ``models/``, or path of a model or run folder.
    settings
        ``key=value`` texts that override the recipe.
    load
        Builds another method, by name and settings, for the first image.
    device
        Where it runs.
    weights
        Weights to take instead of those in the folder.

    Raises
    ------
    ConfigError
        If the recipe is missing or wrong.
    WeightsError
        If the weights are missing, damaged, or of another architecture.
    """
    folder = Path(source) if Path(source, RECIPE).exists() else models_folder() / source
    config = ModelConfig.parse(read_yaml(folder / RECIPE), where=str(folder / RECIPE)).with_settings(settings)
    net = networks.build(config.network, config.architecture)
    load_weights(net, weights or folder / WEIGHTS)
    zero_parameters(net, config.zeroed)
    start = load(config.start.method, config.start.settings) if config.start else None
    return Unrolled(net, config, start, device)


def load_weights(net: nn.Module, path: Path) -> None:
    """Read weights into a network.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or a tensor is missing, unknown, or of another shape.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "train first, or give --weights" if not path.exists() else "fetch the file anew"
        raise WeightsError(f"cannot read weights: {error}", where=str(path), hint=hint) from None
    expected = net.state_dict()
    for name in [*expected, *found]:
        shapes = [tuple(tensors[name].shape) if name in tensors else None for tensors in (expected, found)]
        if shapes[0] != shapes[1]:
            message = f"weight '{name}': the recipe has {shapes[0] or 'none'}, the file {shapes[1] or 'none'}"
            raise WeightsError(message, where=str(path), hint="the recipe and the weights must belong together")
    net.load_state_dict(found)


@torch.no_grad()
def zero_parameters(net: nn.Module, names: Sequence[str]) -> None:
    """Set all parameters to zero whose name ends in one of these, to see what they contribute.

    Raises
    ------
    ConfigError
        If no parameter has such a name.
    """
    ends = {name.rsplit(".", 1)[-1] for name, _ in net.named_parameters()}
    for wanted in names:
        if wanted not in ends:
            raise ConfigError(
                f"no parameter is called '{wanted}'", where="zeroed", hint=nearest_name(wanted, sorted(ends))
            )
        for name, parameter in net.named_parameters():
            if name.rsplit(".", 1)[-1] == wanted:
                parameter.zero_()
