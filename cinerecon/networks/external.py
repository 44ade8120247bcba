"""External networks: a class in a Python file, named ``mynet.py:MyNet``. The file is executed when it is loaded.

The class is a `torch.nn.Module` with ``forward(self, kspace, encoding, start=None)`` that returns the complex image
``(batch, frames, y, x)``, see `networks.unrolled.Unrolled`. Its settings are those of the class ``MyNetConfig`` in the
same file, an instance of which is the only argument of its constructor; without such a class, they are the arguments of
the constructor.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import create_model
from torch import Tensor, nn

from cinerecon.config import Config
from cinerecon.errors import ConfigError
from cinerecon.external import Code, load_class, report_failures

BASE, HINT = "torch.nn.Module", "keep it next to the model.yaml or the weights"
CONTRACT = "forward(self, kspace, encoding, start=None) -> image (batch, frames, y, x) complex"


@dataclass(frozen=True, eq=False)
class External:
    """A network from outside the package.

    Attributes
    ----------
    config_class, network
        Class of its settings, and function that builds the network from an instance of it.
    code
        Its code.
    """

    config_class: type[Config]
    network: Callable[[Any], nn.Module]
    code: Code


def load_external(name: str) -> External:
    """Import an external network.

    Parameters
    ----------
    name
        See `external.located`.

    Raises
    ------
    ConfigError
        If the file is missing or fails, has no such class, or the class does not accept the arguments of networks.
    """
    external = load_class(name, nn.Module, "network", BASE, hint=HINT)
    network, path = external.type, external.code.files[0]
    try:
        inspect.signature(network.forward).bind(None, None, None, start=None)
    except TypeError:
        description = f"forward{inspect.signature(network.forward)}"
        what = f"{network.__name__} has {description}, which does not accept the arguments of a network"
        raise ConfigError(what, where=str(path), hint=CONTRACT) from None
    config_class = getattr(external.module, f"{network.__name__}Config", None)
    if config_class is None:
        config_class = _config_of(network)
        build: Callable[[Any], nn.Module] = lambda config: network(**dict(config))  # noqa: E731
    elif isinstance(config_class, type) and issubclass(config_class, Config):
        build = network
    else:
        what = f"{network.__name__}Config is not a settings class"
        raise ConfigError(what, where=str(path), hint="derive it from cinerecon.config.Config")
    report_failures(network, ("__init__", "forward"), path)
    return External(config_class, lambda config: _checked(build(config), network.__name__, path), external.code)


def _config_of(network: type[nn.Module]) -> type[Config]:
    """Create settings from the arguments of a constructor."""
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [p for p in list(inspect.signature(network.__init__).parameters.values())[1:] if p.kind in plain]
    fields: dict[str, Any] = {
        p.name: (
            Any if p.annotation is p.empty or isinstance(p.annotation, str) else p.annotation,
            ... if p.default is p.empty else p.default,
        )
        for p in parameters
    }
    return create_model(f"{network.__name__}Config", __base__=Config, **fields)


def _checked(net: nn.Module, name: str, path: Path) -> nn.Module:
    """Add a check of each image to a network."""

    def check(_: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        has_extras = isinstance(output, tuple) and len(output) == 2 and options.get("extras")
        image = output[0] if has_extras else output
        kspace, encoding = inputs
        expected = (*kspace.shape[:2], *encoding.matrix)
        if isinstance(image, Tensor) and image.is_complex() and tuple(image.shape) == expected:
            return
        description = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        what = f"{name} returns {description}, expected a complex image {expected} (batch, frames, y, x)"
        raise ConfigError(what, where=str(path), hint=CONTRACT)

    net.register_forward_hook(check, with_kwargs=True)
    return net
