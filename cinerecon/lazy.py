"""Public names of a package that are imported at first use (PEP 562), so that importing the package takes no time."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package
        Name of the package.
    modules
        The module of each public name; with ``module:other`` it is called `other` there, ``module:`` is the module
        itself.
    """

    def getattr_(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        path, sign, other = modules[name].partition(":")
        module = import_module(path)
        return module if sign and not other else getattr(module, other or name)

    return getattr_, lambda: sorted({*import_module(package).__dict__, *modules})
