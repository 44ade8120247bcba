"""The table of all methods, classical and deep; each method is imported when it is loaded."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.external import first_line, is_external
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.methods.classical import config
from cinerecon.methods.model_file import METHOD_NAME, MODEL_ENDING, ModelConfig, find_model, imported_models
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
    summary
        One line for the list of methods.
    config_class
        Class of its settings; for a network, the class of model files.
    location
        Module in `cinerecon.methods`, and name of the factory in it; for a method from outside the package, its name.
        The factory of a classical method is called with its settings, that of a network like
        `methods.network.build_network`.
    """

    name: str
    summary: str
    config_class: type[Config] = ModelConfig
    location: str = "network:build_network"

    @property
    def kind(self) -> Literal["classical", "deep"]:
        """``deep`` for networks with weights, otherwise ``classical``."""
        return "deep" if self.config_class is ModelConfig else "classical"

    def load(self) -> Builder:
        """Import the method, and return its factory."""
        if is_external(self.location):
            from cinerecon.methods.external import build_external_method

            return partial(build_external_method, self.location)
        module, name = self.location.split(":")
        builder: Builder = getattr(import_module(f"cinerecon.methods.{module}"), name)
        return builder


_CLASSICAL = (
    Method(
        "zerofilled",
        "inverse Fourier transform of the sampled points",
        config.ZeroFilledConfig,
        "classical.linear:ZeroFilled",
    ),
    Method("cgsense", "SENSE by conjugate gradients, frame by frame", config.CgSenseConfig, "classical.linear:CgSense"),
    Method(
        "ktslr", "k-t SLR: low rank and sparse gradient, by ADMM", config.KtSlrConfig, "classical.admm_methods:KtSlr"
    ),
    Method(
        "ktslr-reference",
        "k-t SLR with the authors' algorithm, for comparison (slow)",
        config.KtSlrReferenceConfig,
        "classical.ktslr_reference:KtSlrReference",
    ),
    Method(
        "llr",
        "locally low rank, in randomly placed blocks of the image",
        config.LlrConfig,
        "classical.admm_methods:Llr",
    ),
    Method("ttv", "temporal total variation", config.TtvConfig, "classical.admm_methods:Ttv"),
    Method(
        "lps",
        "L+S: low-rank background plus a part that is sparse in temporal frequency",
        config.LpsConfig,
        "classical.lps:Lps",
    ),
    Method(
        "viewshared",
        "k-space interpolated in time between sampled frames",
        config.ViewSharedConfig,
        "classical.linear:ViewShared",
    ),
)
_DEEP = (
    *(Method(name, entry.summary) for name, entry in NETWORKS.items()),
    Method("istanet-lr", "ISTA-Net with the plug-and-play low-rank module"),
    Method("dccnn-lr", "DC-CNN with the plug-and-play low-rank module"),
    Method("crnn-lr", "CRNN with the plug-and-play low-rank module"),
)
METHODS = {method.name: method for method in (*_CLASSICAL, *_DEEP)}


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
        a model file, a folder under ``models/``, or a run folder. For a classical method from outside the package: its
        file and class, ``my_method.py:MyMethod``; the file is executed.
    settings
        ``key=value`` texts that override the method's defaults.
    device
        Device of a network; classical methods run on the device of their data.
    weights
        Weights to use instead of those of the model.

    Raises
    ------
    ConfigError
        If the name or a setting is unknown (the hint names the nearest), weights are given to a classical method, or
        the code of a method from outside the package is wrong.
    """
    method = find_method(name)
    build = method.load()
    weights = None if weights is None else as_path(weights, "weights")
    if method.kind == "deep":
        loaded = build(name, settings, load=load_method, device=device, weights=weights)
    elif weights is not None:
        raise ConfigError(f"{name} is a classical method and takes no weights", where=str(weights))
    else:
        loaded = build(method.config_class().with_settings(settings, where=f"--set of {name}"))
    loaded.name = os.fspath(name)
    return loaded


def load_initial_method(model: ModelConfig) -> "Reconstructor | None":
    """The method for the initial image of a model; None for the zero-filled image.

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
        where = f"initial_method, {error.where}" if is_external(initial.method) else "initial_method"
        raise ConfigError(error.what, where=where, hint=error.hint) from None


def find_method(name: str) -> Method:
    """The entry of a method by its name, or of a model: a file, a folder, or the name of an imported model.

    The file of a method from outside the package is executed.

    Raises
    ------
    ConfigError
        If there is no such method or model, with the nearest name as a hint.
    """
    if not isinstance(name, str | os.PathLike):
        raise ConfigError(f"a method is a name or a path, found {type(name).__name__}", where=METHOD_NAME)
    if name in METHODS:
        return METHODS[name]
    if is_external(os.fspath(name)):
        return _external(os.fspath(name))
    if find_model(name):
        return Method(name, "a trained network")
    if Path(name).is_file() and Path(name).suffix == ".py":
        hint = f"a classical method: {name}:CLASS; a network: the folder with this file and its model.yaml"
        raise ConfigError(f"{Path(name).name} is a Python file, but no class is given", where=str(name), hint=hint)
    if Path(name).is_file():
        hint = f"cinerecon models import {name}, if it is a checkpoint of a published program"
        raise ConfigError(f"not a model: {Path(name).name}", where=name, hint=hint)
    if Path(name).name != str(name) or Path(name).suffix == MODEL_ENDING:
        raise ConfigError("there is no such model file or folder", where=str(name))
    known = [*METHODS, *(path.stem for path in imported_models())]
    raise ConfigError(f"unknown method '{name}'", where=METHOD_NAME, hint=nearest_name(name, known))


def _external(name: str) -> Method:
    """The entry of a method from outside the package."""
    from cinerecon.methods.external import load_external_method

    method = load_external_method(name).type
    summary = first_line(method) or "a method from outside the package"
    return Method(name, summary, method.config_class, location=name)
