"""The base class of unrolled networks, in which an image passes through cascades, and networks built by name.

A network defines its cascades and, in `unroll`, the variables that are passed between cascades.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cinerecon.axes import KSPACE
from cinerecon.config import Config
from cinerecon.errors import ConfigError, ShapeError
from cinerecon.external import is_external, portable
from cinerecon.networks.blocks import Convolution, ConvStack
from cinerecon.networks.config import NetworkConfig
from cinerecon.networks.external import load_external
from cinerecon.networks.table import find_network
from cinerecon.physics.operators import Encoding

Extras = Mapping[str, Tensor | Sequence[Tensor]]
"""Outputs of a network in addition to the image, by name."""
C = TypeVar("C", bound=NetworkConfig)


@dataclass(frozen=True)
class UnrolledPass:
    """The inputs of one reconstruction: ``run(cascade, *state)`` is ``cascade(zerofilled, encoding, *state)``.

    Attributes
    ----------
    zerofilled
        A^H y, ``(batch, frames, y, x)``.
    encoding
        The operator A.
    kspace
        y, ``(batch, frames, coils, ky, kx)``; None unless the network needs it.
    start
        The initial image, if given.
    extras
        Whether extras are requested.
    checkpointing
        Whether each cascade is computed again in the backward pass.
    """

    zerofilled: Tensor
    encoding: Encoding
    kspace: Tensor | None
    start: Tensor | None = None
    extras: bool = False
    checkpointing: bool = False

    def __call__(self, cascade: nn.Module, *state: Any) -> Any:
        """Apply the cascade."""
        inputs = self.zerofilled, self.encoding, *state
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(cascade, *inputs, use_reentrant=False)
        return cascade(*inputs)


class Unrolled(nn.Module, Generic[C]):
    """An unrolled network ``net(kspace, encoding) -> image``, with its architecture in `config`.

    Subclasses create their `cascades`, and override `unroll` if these pass on more than an image.
    """

    config_class: type[C]
    frames_are_cyclic: ClassVar[bool] = False
    """Whether the network treats the frames as cyclic, with the first frame after the last."""
    needs_kspace: ClassVar[bool] = False
    """Whether the network uses k-space itself, not only A^H y."""
    n_feature_series: ClassVar[float] = 5.0
    """Largest number of series of float32 features with all channels in memory at the same time, without gradients."""
    cascades: nn.ModuleList

    def __init__(self, config: C | None = None) -> None:
        super().__init__()
        self.config: C = config if isinstance(config, NetworkConfig) else self.config_class.or_default(config)

    def output_convolutions(self) -> list[Convolution]:
        """The convolutions whose output becomes an image or is added to one; `output_weight_scale` applies to them."""
        stacks = (module for module in self.modules() if isinstance(module, ConvStack) and module.to_image)
        return [stack.convolutions[-1] for stack in stacks]

    def forward(
        self,
        kspace: Tensor | None,
        encoding: Encoding,
        *,
        start: Tensor | None = None,
        extras: bool = False,
        zerofilled: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Extras]:
        """Reconstruct.

        Parameters
        ----------
        kspace
            ``(batch, frames, coils, ky, kx)`` complex, zero where not sampled; may be None if the network does not use
            it and `zerofilled` is given.
        encoding
            The encoding operator of the measurement.
        start
            ``(batch, frames, y, x)``, the initial image; None means the zero-filled image A^H y.
        extras
            Whether to return the extras of the network as well, which its method `unroll` documents.
        zerofilled
            ``(batch, frames, y, x)``, A^H y if it has already been computed.

        Returns
        -------
        Tensor
            ``(batch, frames, y, x)`` complex.

        Raises
        ------
        ShapeError
            If k-space has no batch axis, or is not complex.
        """
        if zerofilled is None:
            self._require_fit(kspace)
            assert kspace is not None
            zerofilled = encoding.adjoint(kspace)
        run = UnrolledPass(zerofilled, encoding, kspace, start, extras, self.config.checkpointing)
        image, extra_outputs = self.unroll(run, run.zerofilled if start is None else start)
        return (image, extra_outputs) if extras else image

    def _require_fit(self, kspace: Tensor | None) -> None:
        """Check the axes and the type of k-space."""
        if not isinstance(kspace, Tensor) or kspace.ndim != 1 + len(KSPACE):
            found = f"has {kspace.ndim} axes" if isinstance(kspace, Tensor) else f"is of type {type(kspace).__name__}"
            raise ShapeError(
                f"kspace {found}, expected (batch, {', '.join(KSPACE)})", hint="kspace[None] adds a batch axis"
            )
        if not kspace.is_complex():
            raise ShapeError(f"kspace is {kspace.dtype}, expected a complex type")

    def unroll(self, run: UnrolledPass, image: Tensor) -> tuple[Tensor, Extras]:
        """Pass the initial image through all cascades; returns the last image and the extras, here none."""
        for cascade in self.cascades:
            image = run(cascade, image)
        return image, {}


@torch.no_grad()
def scale_output_weights(net: Unrolled[Any], factor: float) -> None:
    """Scale the weights of the output convolutions; with a small factor, the initial network is close to the identity.

    Raises
    ------
    ConfigError
        If the network has no output convolutions.
    """
    convolutions = net.output_convolutions()
    if not convolutions:
        what = f"{type(net).__name__} has no output convolutions, output_weight_scale must be 1"
        raise ConfigError(what, hint="set to_image=True for the convolutions whose output is an image")
    for convolution in convolutions:
        convolution.weight.mul_(factor)


def count_parameters(net: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def load_network(name: str) -> tuple[type[Config], Callable[[Any], nn.Module]]:
    """Import a network: one of the table, or a class in a Python file (``mynet.py:MyNet``), which is executed.

    Returns
    -------
    tuple
        The class of its settings, and the class of the network.

    Raises
    ------
    ConfigError
        If there is no such network, or it cannot be imported.
    """
    if is_external(name):
        external = load_external(name)
        return external.config_class, external.network
    entry = find_network(name)
    network: type[Unrolled[Any]] = getattr(import_module(f"cinerecon.networks.{name}"), entry.network)
    return entry.config_class, network


def build(name: str, config: Mapping[str, Any] | None = None, **settings: Any) -> nn.Module:
    """Build a network by name from plain values, e.g. those of a recipe.

    Parameters
    ----------
    name
        A name of the table, or ``mynet.py:MyNet`` with the path of the file.
    config
        Settings by name; others have the defaults of the network's settings.
    settings
        Further settings.

    Raises
    ------
    ConfigError
        If the name, a key or a value is wrong, or the network has no output convolutions to scale.
    """
    config_class, network = load_network(name)
    parsed = config_class.parse({**(config or {}), **settings}, where=f"network {portable(name)}")
    net = network(parsed)
    if isinstance(net, Unrolled) and net.config.output_weight_scale != 1:
        scale_output_weights(net, net.config.output_weight_scale)
    return net


def count_parameters_of(name: str, config: Mapping[str, Any]) -> int:
    """Number of learned parameters of a network, without allocating memory; parameters and errors as for `build`."""
    with torch.device("meta"):
        return count_parameters(build(name, config))
