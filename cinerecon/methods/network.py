"""Any unrolled network as a reconstruction method: model, weights, scale, batch axis, device.

Convolutions run in bfloat16 (`torch.autocast`) if this is faster and does not change the image. Transforms, data
consistency and shrinkage of singular values are not affected: they are complex, or excluded by the networks. Training
uses the same mixed precision. Rounding to bfloat16 changes the images of the networks of this package by at most 1e-3
of their norm, and PSNR by 0.001 dB.

Scale, phase and noise of the data are first adapted to the network, see `methods.normalisation`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.external import is_external
from cinerecon.machine import pick_device
from cinerecon.methods.base import (
    Progress,
    Reconstruction,
    Reconstructor,
    coils_at_once,
    reconstruct_each,
)
from cinerecon.methods.card import Card
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.external import check_code
from cinerecon.methods.model_file import (
    ModelConfig,
    load_weights,
    read_card,
    read_model,
    require_weights,
    with_portable_code,
)
from cinerecon.methods.normalisation import demodulate_encoding, excessive_noise, mean_phase, scale_of, with_less_noise
from cinerecon.networks import bfloat16
from cinerecon.networks.unrolled import Unrolled, count_parameters
from cinerecon.physics.operators import Encoding

N_IMAGE_SERIES = 8.0
"""Number of complex image series in memory in addition to the features of a network."""
BFLOAT16_TOLERANCE = 0.02
"""Largest relative difference of the images of a trial in both precisions; 0.003 for the shipped networks."""
BFLOAT16_TRIAL = (16, 96, 16)
"""Frames, ky and kx of the trial; large enough for 3-D convolutions of 16 channels to use their usual algorithm."""


class NetworkMethod(Reconstructor):
    """An unrolled network with its weights, as a reconstruction method.

    Parameters
    ----------
    net
        The network, with its weights.
    config
        The model from which it was built.
    initial_method
        Computes the initial image; None means the zero-filled image.
    device
        Device of the computation.
    """

    config: ModelConfig

    def __init__(
        self,
        net: nn.Module,
        config: ModelConfig,
        initial_method: Reconstructor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.initial_method = initial_method
        device = pick_device(device)
        self.net = net.to(device).eval()
        self.config = config
        self.device = torch.device(device)

    @property
    def card(self) -> Card:
        """The card of the weights."""
        return self.config.card

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """Acquisition settings that the training data were prepared with."""
        return self.config.preprocessing

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Parameters and buffers of the network."""
        return self.net.state_dict()

    @property
    def code_sha256(self) -> str:  # type: ignore[override]
        """SHA-256 of the code from outside the package, of the network or of the initial method."""
        return self.config.code_sha256 or ""

    @property
    def n_parameters(self) -> int:
        """Number of learned parameters."""
        return count_parameters(self.net)

    @property
    def n_series(self) -> float:  # type: ignore[override]
        """See `Reconstructor`; features are real. A large number is assumed for external networks."""
        convolutions = (m for m in self.net.modules() if isinstance(m, nn.Conv2d | nn.Conv3d))
        n_channels = max((convolution.out_channels for convolution in convolutions), default=64)
        own = N_IMAGE_SERIES + n_channels / 2 * float(getattr(self.net, "n_feature_series", 12.0))
        before = [self.initial_method] if self.initial_method else []
        before += [KtSlr()] if self._can_reduce_noise else []
        return max(own, *(N_IMAGE_SERIES + method.n_series for method in before), 0.0)

    @property
    def n_kspace_copies(self) -> int:  # type: ignore[override]
        """See `Reconstructor`; the reduction of strong noise, see `methods.normalisation`, makes a copy."""
        return int(getattr(self.net, "needs_kspace", True)) + self._can_reduce_noise

    @property
    def _can_reduce_noise(self) -> bool:
        """Whether the noise of a scan is reduced if it is strong."""
        return self.config.reduce_noise and self.card.noise is not None

    @torch.no_grad()
    def reconstruct(
        self,
        data: CineData,
        progress: Progress | None = None,
        *,
        initial_image: Tensor | None = None,
        record: bool = False,  # noqa: ARG002
    ) -> Reconstruction:
        """See `Reconstructor.reconstruct`; there is no convergence to record.

        A given initial image is not used if the noise is reduced first.
        """
        given = None if initial_image is None else iter(initial_image.reshape(-1, *initial_image.shape[-3:]))

        def reconstruct(cine: CineData, report: Progress) -> Tensor:
            return self._reconstruct(cine, report, None if given is None else next(given))

        return Reconstruction(reconstruct_each(data, reconstruct, progress, device=self.device))

    def _reconstruct(self, data: CineData, progress: Progress, initial_image: Tensor | None) -> Tensor:
        """The image of one cine, from data in the precision of the weights and with the noise of the training."""
        csm = None if data.csm is None else data.csm.to(torch.complex64)
        data = replace(data, kspace=data.kspace.to(torch.complex64), csm=csm)
        excess = excessive_noise(self.card, data) if self.config.reduce_noise else 0.0
        if excess:
            data, initial_image = with_less_noise(data, 1 / excess), None
        if initial_image is None and self.initial_method is not None:
            initial_image = self.initial_method(data, lambda done, total: progress(done, total + 1))
        if not (data.meta.is_real_time and getattr(self.net, "frames_are_cyclic", False)):
            return self._apply(data, initial_image)
        frames = torch.cat([torch.arange(data.n_frames), torch.arange(data.n_frames).flip(0)])
        # a series followed by its mirror image is cyclic without a discontinuity
        longer = replace(data, kspace=data.kspace[frames], mask=data.mask[frames])
        return self._apply(longer, None if initial_image is None else initial_image[frames])[: data.n_frames]

    def _apply(self, data: CineData, initial_image: Tensor | None) -> Tensor:
        """The image of the network, from an initial image in the units of A^H y, or from A^H y."""
        scale = scale_of(data, self.config.scale)
        initial = None if initial_image is None else initial_image.to(scale.device)[None] / scale
        batched = None if data.csm is None else data.csm[None]
        at_once = self.config.coils_at_once or coils_at_once(data)
        encoding = Encoding(data.mask[None], batched, matrix=data.matrix, coils_at_once=at_once)
        zerofilled = encoding.adjoint(data.kspace[None]).div_(scale)
        if not self.config.demodulate:
            return self._run(data.kspace, scale, zerofilled, encoding, initial)[0] * scale
        phase = mean_phase(zerofilled if initial is None else initial, self.config.phase_smoothing)
        initial = None if initial is None else initial * phase[:, None].conj()
        encoding = demodulate_encoding(encoding, phase)
        image = self._run(data.kspace, scale, zerofilled * phase[:, None].conj(), encoding, initial)
        return (image * phase[:, None])[0] * scale

    def _run(
        self, kspace: Tensor, scale: Tensor, zerofilled: Tensor, encoding: Encoding, initial: Tensor | None
    ) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.computes_in_bfloat16):
            return run_network(self.net, kspace, zerofilled, encoding, initial, scale)

    @cached_property
    def computes_in_bfloat16(self) -> bool:
        """Whether convolutions are computed in bfloat16, see `is_bfloat16_accurate`."""
        is_allowed = self.config.precision == "auto" and not is_external(self.config.network)
        return is_allowed and is_bfloat16_accurate(self.net, self.device)


def build_network(
    source: str,
    settings: Sequence[str] = (),
    *,
    load: Callable[[str, Sequence[str]], Reconstructor],
    device: torch.device | str = "cpu",
    weights: Path | None = None,
) -> NetworkMethod:
    """Load a network from its model file and weights.

    Parameters
    ----------
    source
        A model, see `read_model`.
    settings
        ``key=value`` texts that override the model file.
    load
        Loads the method for the initial image, by name and settings.
    device
        Device of the computation.
    weights
        Weights to use instead of those of the model.

    Raises
    ------
    ConfigError
        If the model file is missing or wrong.
    WeightsError
        If the weights are missing or damaged, or belong to another architecture or to other external code.
    """
    model, path = read_model(source)
    config = model.with_settings(settings, where=f"--set of {source}")
    net = networks.build(config.network, config.architecture)
    path = weights or require_weights(config, path, Path(source).name)
    load_weights(net, path)
    code_sha256, initial = check_code(config, path), config.initial_method
    if code_sha256:
        config = with_portable_code(config).model_copy(update={"code_sha256": code_sha256})
    if weights:
        config = config.model_copy(update={"card": read_card(weights)})
    zero_parameters(net, config.zeroed_parameters)
    initial_method = load(initial.method, initial.settings) if initial else None
    return NetworkMethod(net, config, initial_method, device)


@torch.no_grad()
def zero_parameters(net: nn.Module, names: Sequence[str]) -> None:
    """Set parameters to zero, given by the last component of their names, to measure their contribution.

    Raises
    ------
    ConfigError
        If there is no parameter of a name.
    """
    ends = {name.rsplit(".", 1)[-1] for name, _ in net.named_parameters()}
    for ending in names:
        if ending not in ends:
            raise ConfigError(
                f"no parameter is called '{ending}'", where="zeroed_parameters", hint=nearest_name(ending, sorted(ends))
            )
        for name, parameter in net.named_parameters():
            if name.rsplit(".", 1)[-1] == ending:
                parameter.zero_()


def run_network(
    net: nn.Module, kspace: Tensor, zerofilled: Tensor, encoding: Encoding, initial: Tensor | None, scale: Tensor
) -> Tensor:
    """The image of a network; k-space is divided by the scale, and thus copied, only if the network uses it."""
    image: Tensor
    scaled = kspace[None] / scale if getattr(net, "needs_kspace", True) else None
    if scaled is None or isinstance(net, Unrolled):
        image = net(scaled, encoding, start=initial, zerofilled=zerofilled)
    else:
        image = net(scaled, encoding, start=initial)
    return image


@torch.no_grad()
def is_bfloat16_accurate(net: nn.Module, device: torch.device) -> bool:
    """Whether bfloat16 is faster on a device, and a network computes the same image of a small trial in bfloat16.

    The trial is undersampled noise of unit variance. The images are compared because libraries have had wrong results
    in bfloat16 on some processors.
    """
    if not bfloat16.is_native(device):
        return False
    generator = torch.Generator().manual_seed(0)
    frames, ky, kx = BFLOAT16_TRIAL
    mask = torch.rand(1, frames, 1, ky, 1, generator=generator) < 0.5
    kspace = (torch.randn(1, frames, 1, ky, kx, dtype=torch.complex64, generator=generator) * mask).to(device)
    encoding = Encoding(mask.to(device), matrix=(ky, kx))
    zerofilled, scale = encoding.adjoint(kspace), torch.ones((), device=device)
    images = []
    for enabled in (False, True):
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            images.append(run_network(net, kspace[0], zerofilled, encoding, zerofilled, scale))
    single, half = images
    return bool((half - single).norm() <= BFLOAT16_TOLERANCE * single.norm())  # False for NaN, too
