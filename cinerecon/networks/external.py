"""External networks: a class in a Python file, named ``mynet.py:MyNet``. The file is executed when it is loaded.

The class is a `torch.nn.Module` with ``forward(self, kspace, encoding, start=None)`` that returns the complex image
``(batch, frames, y, x)``, see `networks.unrolled.Unrolled`. Its settings are those of the class ``MyNetConfig`` in the
same file, an instance of which is the only argument of its constructor; without such a class, they are the arguments of
the constructor.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import create_model
from torch import Tensor, nn

from cinerecon.config import Config
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.networks.table import code_file

CONTRACT = "forward(self, kspace, encoding, start=None) -> image (batch, frames, y, x) complex"

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of files."""


@dataclass(frozen=True, eq=False)
class External:
    """A network from outside the package.

    Attributes
    ----------
    config_class, network
        Class of its settings, and function that builds the network from an instance of it.
    files
        Its code: the file in its name, and the modules that this file imports from the same folder.
    folder
        The folder of the code.
    """

    config_class: type[Config]
    network: Callable[[Any], nn.Module]
    files: tuple[Path, ...]
    folder: Path

    @property
    def code_sha256(self) -> str:
        """SHA-256 of the code, with the names of its files."""
        total = hashlib.sha256()
        for file in self.files:
            total.update(f"{file.relative_to(self.folder).as_posix()}\n".encode() + file.read_bytes())
        return total.hexdigest()


def load_external(name: str) -> External:
    """Import an external network.

    Parameters
    ----------
    name
        See `located`.

    Raises
    ------
    ConfigError
        If the file is missing or fails, has no such class, or the class does not accept the arguments of networks.
    """
    path = code_file(name)
    if not path.is_file():
        what, hint = f"there is no file {path.name} with the network", "keep it next to the model.yaml or the weights"
        raise ConfigError(what, where=str(path), hint=hint)
    stamps = ((file.name, file.stat()) for file in sorted(path.parent.glob("*.py")))
    return _load(path, name.rpartition(":")[2], tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stamps))


@lru_cache
def _load(path: Path, name: str, _: Stamp) -> External:
    """Import the network; it is imported again after a change of a file in its folder."""
    module, files = _import(path)
    network = getattr(module, name, None)
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        classes = [n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, nn.Module)]
        hint = nearest_name(name, classes) if classes else "a class derived from torch.nn.Module"
        raise ConfigError(f"there is no network '{name}' in {path.name}", where=str(path), hint=hint)
    try:
        inspect.signature(network.forward).bind(None, None, None, start=None)
    except TypeError:
        description = f"forward{inspect.signature(network.forward)}"
        what = f"{name} has {description}, which does not accept the arguments of a network"
        raise ConfigError(what, where=str(path), hint=CONTRACT) from None
    config_class = getattr(module, f"{name}Config", None)
    if config_class is None:
        config_class = _config_of(network)
        build: Callable[[Any], nn.Module] = lambda config: network(**dict(config))  # noqa: E731
    elif isinstance(config_class, type) and issubclass(config_class, Config):
        build = network
    else:
        what = f"{name}Config is not a settings class"
        raise ConfigError(what, where=str(path), hint="derive it from cinerecon.config.Config")
    return External(config_class, lambda config: _checked(build(config), name, path), files, path.parent)


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


def _import(path: Path) -> tuple[ModuleType, tuple[Path, ...]]:
    """Import the module of a file; returns the module, and the files of its folder that it uses."""
    label = f"cinerecon_external_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module
    try:
        with _importing_from(path.parent) as siblings:
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[label]
        line = next((frame for frame in reversed(_frames(error)) if Path(frame[0]).parent == path.parent), None)
        where = f"{line[0]}, line {line[1]}" if line else str(path)
        what = f"the code of the network cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(what, where=where, hint="--debug shows the traceback") from error
    return module, (path, *sorted(siblings))


def _frames(error: BaseException) -> list[tuple[str, int]]:
    """File and line of each call that led to an error; for a syntax error, also its location."""
    frames, traceback = [], error.__traceback__
    while traceback:
        frames.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 1))
    return frames


@contextmanager
def _importing_from(folder: Path) -> Iterator[list[Path]]:
    """Allow imports from a folder, and collect the files; other folders may have modules of the same names."""
    before, files = set(sys.modules), list[Path]()
    sys.path.insert(0, str(folder))
    try:
        yield files
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            top, file = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
            is_own = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
            if is_own and top != "cinerecon" and file and Path(file).resolve().is_relative_to(folder):
                files.append(Path(file).resolve())
                del sys.modules[name]
