"""Any unrolled network as a reconstruction method: recipe, weights, scale, batch axis, device."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.methods.base import Progress, Reconstructor, cine_by_cine
from cinerecon.methods.demodulation import still_phase, turned
from cinerecon.methods.model_file import ModelConfig, load_weights, read_card, read_model, weights_of
from cinerecon.methods.scale import scale_of
from cinerecon.physics.operators import Encoding


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

    @torch.no_grad()
    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct ``(*batch, frames, y, x)``, cine by cine, in the units of A^H y."""
        return cine_by_cine(data, self._reconstruct, progress, device=self.device)

    def _reconstruct(self, data: CineData, progress: Progress) -> Tensor:
        csm = None if data.csm is None else data.csm.to(torch.complex64)
        data = CineData(data.kspace.to(torch.complex64), data.mask, csm)  # the precision of the weights
        scale = scale_of(data, self.config.scale)
        start = None
        if self.start:
            start = self.start(data, lambda done, total: progress(done, total + 1))[None] / scale
        batched = None if csm is None else csm[None]
        encoding = Encoding(data.mask[None], batched, matrix=data.matrix, coils_at_once=self.config.coils_at_once)
        kspace = data.kspace[None] / scale
        if not self.config.demodulate:
            return self.net(kspace, encoding, start=start)[0] * scale
        phase = still_phase(encoding.adjoint(kspace) if start is None else start)
        turned_start = None if start is None else start * phase[:, None].conj()
        image: Tensor = self.net(kspace, turned(encoding, phase), start=turned_start)
        return (image * phase[:, None])[0] * scale


def build_unrolled(
    source: str,
    settings: Sequence[str] = (),
    *,
    load: Callable[[str, Sequence[str]], Reconstructor],
    device: torch.device | str = "cpu",
    weights: Path | None = None,
) -> Unrolled:
    """Load a network from its recipe and weights.

    Parameters
    ----------
    source
        A model, see `read_model`.
    settings
        ``key=value`` texts that override the recipe.
    load
        Builds another method, by name and settings, for the first image.
    device
        Where it runs.
    weights
        Weights to take instead of the model's own.

    Raises
    ------
    ConfigError
        If the recipe is missing or wrong.
    WeightsError
        If the weights are missing, damaged, or of another architecture.
    """
    recipe, path = read_model(source)
    config = recipe.with_settings(settings)
    net = networks.build(config.network, config.architecture)
    load_weights(net, weights or weights_of(config, path, Path(source).name))
    if weights:
        config = config.model_copy(update={"card": read_card(weights)})
    zero_parameters(net, config.zeroed)
    start = load(config.start.method, config.start.settings) if config.start else None
    return Unrolled(net, config, start, device)


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
