"""Code from outside the package: classical methods, and the code with which the weights of a model were trained.

A classical method is a class in a Python file, named ``my_method.py:MyMethod``, which is derived from
`methods.base.ClassicalMethod`. The file is executed when the method is loaded.
"""

import copyreg
import hashlib
import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cinerecon.config import Config
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.external import Code, ExternalClass, code_file, load_class, located, report_failures
from cinerecon.methods.base import ClassicalMethod
from cinerecon.methods.model_file import ModelConfig, external_names, read_metadata
from cinerecon.networks.external import load_external

HINT = "the path is relative to the current folder; in a model.yaml, to the folder of that file"
BASE = "cinerecon.methods.base.ClassicalMethod"
CONTRACT = "solve(self, data, progress, convergence) -> image (*batch, frames, y, x) complex"


def load_external_method(name: str) -> ExternalClass[ClassicalMethod[Any]]:
    """Import a method from outside the package.

    Parameters
    ----------
    name
        Path of a Python file and name of a class in it, ``my_method.py:MyMethod``.

    Raises
    ------
    ConfigError
        If the file is missing or fails, has no such class, or the class is not a complete method.
    """
    external = load_class(name, ClassicalMethod, "method", BASE, hint=HINT)  # type: ignore[type-abstract]
    method, where = external.type, str(external.code.files[0])
    if inspect.isabstract(method):
        missing = ", ".join(sorted(method.__abstractmethods__))
        raise ConfigError(f"{method.__name__} does not implement {missing}", where=where, hint=CONTRACT)
    if not _accepts(method.solve, 4):
        what = f"{method.__name__} has solve{inspect.signature(method.solve)}, which does not accept the arguments"
        raise ConfigError(what, where=where, hint=CONTRACT)
    if not _accepts(method, 1):
        what = f"{method.__name__}{inspect.signature(method)} cannot be created from its settings alone"
        raise ConfigError(what, where=where, hint="__init__(self, config=None)")
    config_class = getattr(method, "config_class", None)
    if not (isinstance(config_class, type) and issubclass(config_class, Config)):
        what = f"{method.__name__} has no config_class with its settings"
        raise ConfigError(what, where=where, hint="config_class = a class derived from cinerecon.config.Config")
    required = [name for name, field in config_class.model_fields.items() if field.is_required()]
    if required:
        what = f"the setting '{required[0]}' of {config_class.__name__} has no default"
        raise ConfigError(what, where=where, hint="each setting of a method has a default")
    report_failures(method, ("__init__", "solve", "noise_std"), external.code.files[0])
    return external


def build_external_method(name: str, config: Config) -> ClassicalMethod[Any]:
    """Create a method from outside the package, with the checksum of its code.

    Raises
    ------
    ConfigError
        See `load_external_method`.
    """
    external = load_external_method(name)
    method = external.type(config)
    method.code_sha256 = external.code.sha256
    copyreg.pickle(external.type, partial(_reduce, located(name, Path.cwd())))
    return method


def _reduce(name: str, method: ClassicalMethod[Any]) -> tuple[Any, ...]:
    """A pickled method: another process imports the class again, since its module is not in the path of imports."""
    return _restore, (name, method.config.model_dump(), method.name)


def _restore(name: str, settings: Mapping[str, Any], shown_name: str) -> ClassicalMethod[Any]:
    method = build_external_method(name, load_external_method(name).type.config_class.parse(settings))
    method.name = shown_name
    return method


def _accepts(function: Any, n: int) -> bool:
    """Whether a function or class can be called with a number of arguments by position."""
    try:
        inspect.signature(function).bind(*[None] * n)
    except TypeError:
        return False
    return True


def external_code(config: ModelConfig) -> list[Code]:
    """The code from outside the package that a model uses, which is executed.

    Raises
    ------
    ConfigError
        If the code cannot be imported.
    """
    names = external_names(config)
    network, initial = names.get("network"), names.get("initial method")
    code = [load_external(network).code] if network else []
    return [*code, *([load_external_method(initial).code] if initial else [])]


def hash_code(config: ModelConfig) -> str | None:
    """SHA-256 of the code from outside the package that a model uses; None if there is none.

    Raises
    ------
    ConfigError
        If the code cannot be imported.
    """
    checksums = [code.sha256 for code in external_code(config)]
    if len(checksums) > 1:
        return hashlib.sha256("".join(checksums).encode()).hexdigest()
    return checksums[0] if checksums else None


def check_code(config: ModelConfig, weights: Path) -> str | None:
    """SHA-256 of the code from outside the package, which must be the code with which the weights were trained.

    Raises
    ------
    WeightsError
        If it is different code.
    """
    code_sha256 = hash_code(config)
    if code_sha256 is None:
        return None
    trained = {config.code_sha256, read_metadata(weights).get("code_sha256")} - {None}
    if "any" not in trained and trained - {code_sha256}:
        files = [code_file(name) for name in external_names(config).values()]
        is_or_are = "is" if len(files) == 1 else "are"
        what = (
            f"{' and '.join(file.name for file in files)} {is_or_are} not the code with which the weights were trained"
        )
        hint = "use the copy in the run folder; or --set code_sha256=any, if the code computes the same"
        raise WeightsError(what, where=", ".join(map(str, files)), hint=hint)
    return code_sha256
