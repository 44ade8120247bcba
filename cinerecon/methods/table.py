"""The table of all methods, classical and deep; each method is imported when it is loaded."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.methods.classical import config
from cinerecon.methods.model_file import ModelConfig, find_model, imported_models
from cinerecon.networks import NETWORKS

if TYPE_CHECKING:
    import torch

    from cinerecon.methods.base import Reconstructor

Builder = Callable[..., "Reconstructor"]


@dataclass(frozen=True)
class Method:
    """One entry of the table.

    Attributes
    ----------
    name
        Name of the method for ``--model``.
    kind
        ``classical``: built as ``builder(config)``, from the defaults of its config class and the user's settings.
        ``deep``: built as ``builder(source, settings, load=..., device=..., weights=...)``, where the source is a
        model, see `methods.model_file.read_model`, and ``load`` is `load_method`.
    summary
        One line for the list of methods.
    config_class
        Class of its settings; for a network those of the model.
    load
        Imports the method and returns its builder.
    """

    name: str
    kind: Literal["classical", "deep"]
    summary: str
    config_class: type[Config]
    load: Callable[[], Builder]


def _zerofilled() -> Builder:
    from cinerecon.methods.classical.linear import ZeroFilled

    return ZeroFilled


def _viewshared() -> Builder:
    from cinerecon.methods.classical.linear import ViewShared

    return ViewShared


def _cgsense() -> Builder:
    from cinerecon.methods.classical.linear import CgSense

    return CgSense


def _ktslr() -> Builder:
    from cinerecon.methods.classical.admm_methods import KtSlr

    return KtSlr


def _ktslr_reference() -> Builder:
    from cinerecon.methods.classical.ktslr_reference import KtSlrReference

    return KtSlrReference


def _llr() -> Builder:
    from cinerecon.methods.classical.admm_methods import Llr

    return Llr


def _ttv() -> Builder:
    from cinerecon.methods.classical.admm_methods import Ttv

    return Ttv


def _lps() -> Builder:
    from cinerecon.methods.classical.lps import Lps

    return Lps


def _network() -> Builder:
    from cinerecon.methods.network import build_network

    return build_network


METHODS = {
    method.name: method
    for method in (
        Method(
            "zerofilled",
            "classical",
            "inverse transform of the sampled points alone",
            config.ZeroFilledConfig,
            _zerofilled,
        ),
        Method("cgsense", "classical", "SENSE by conjugate gradients, frame by frame", config.CgSenseConfig, _cgsense),
        Method("ktslr", "classical", "k-t SLR: low rank and sparse gradient, by ADMM", config.KtSlrConfig, _ktslr),
        Method(
            "ktslr-reference",
            "classical",
            "k-t SLR as released, to compare with: slow",
            config.KtSlrReferenceConfig,
            _ktslr_reference,
        ),
        Method("llr", "classical", "locally low rank: blocks of the image, placed at random", config.LlrConfig, _llr),
        Method("ttv", "classical", "temporal total variation", config.TtvConfig, _ttv),
        Method(
            "lps",
            "classical",
            "L+S: low-rank background plus a rest sparse in temporal frequency",
            config.LpsConfig,
            _lps,
        ),
        Method(
            "viewshared",
            "classical",
            "k-space interpolated in time between sampled frames",
            config.ViewSharedConfig,
            _viewshared,
        ),
        *(Method(name, "deep", entry.summary, ModelConfig, _network) for name, entry in NETWORKS.items()),
        Method("istanet-lr", "deep", "ISTA-Net with the plug-and-play low-rank module", ModelConfig, _network),
        Method("dccnn-lr", "deep", "DC-CNN with the plug-and-play low-rank module", ModelConfig, _network),
        Method("crnn-lr", "deep", "CRNN with the plug-and-play low-rank module", ModelConfig, _network),
    )
}


def load_method(
    name: str,
    settings: Sequence[str] = (),
    *,
    device: "str | torch.device" = "cpu",
    weights: AnyPath | None = None,
) -> "Reconstructor":
    """Build a method.

    Parameters
    ----------
    name
        A name of the table, e.g. ``ktslr`` or ``stvarnet``. For other trained networks: the name of an imported model,
        a model file, a folder under ``models/``, or a run folder.
    settings
        ``key=value`` texts that override the method's defaults.
    device
        Device of a network; classical methods run on the device of their data.
    weights
        Weights to use instead of those of the model.

    Raises
    ------
    ConfigError
        If the name or a setting is unknown (the hint names the nearest), or weights are given to a classical method.
    """
    method = _build(name, settings, device, weights)
    method.name = os.fspath(name)
    return method


def _build(
    name: str, settings: Sequence[str], device: "str | torch.device", weights: AnyPath | None
) -> "Reconstructor":
    """The method of a name, for the arguments and errors of `load_method`."""
    method = find_method(name)
    build = method.load()
    weights = None if weights is None else as_path(weights, "weights")
    if method.kind == "deep":
        return build(name, settings, load=load_method, device=device, weights=weights)
    if weights is not None:
        raise ConfigError(f"{name} is a classical method and takes no weights", where=str(weights))
    return build(method.config_class().with_settings(settings, where=f"--set of {name}"))


def load_initial_method(model: ModelConfig) -> "Reconstructor | None":
    """The method whose image the network of a model starts from; None for the zero-filled image.

    Raises
    ------
    ConfigError
        If its name or a setting is unknown.
    """
    initial = model.initial_method
    if initial is None:
        return None
    try:
        return load_method(initial.method, initial.settings)
    except ConfigError as error:
        raise ConfigError(error.what, where="initial_method", hint=error.hint) from None


def find_method(name: str) -> Method:
    """The entry of a name, or of a model: a file, a folder, or an imported one.

    Raises
    ------
    ConfigError
        If there is no such method or model, with the nearest name as a hint.
    """
    if not isinstance(name, str | os.PathLike):
        raise ConfigError(f"a method is a name or a path, found {type(name).__name__}", where="--model")
    if name in METHODS:
        return METHODS[name]
    if find_model(name):
        return Method(name, "deep", "a trained network", ModelConfig, _network)
    if Path(name).is_file():
        hint = f"cinerecon models import {name}, if it is a checkpoint of a published program"
        raise ConfigError(f"not a model: {Path(name).name}", where=name, hint=hint)
    known = [*METHODS, *(path.stem for path in imported_models())]
    raise ConfigError(f"unknown method '{name}'", where="--model", hint=nearest_name(name, known))
