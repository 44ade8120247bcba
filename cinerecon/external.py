"""Classes from outside the package: a class in a Python file, named ``mynet.py:MyNet``.

The file is executed when the class is loaded. It may import other files of its folder.
"""

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from cinerecon.errors import CineReconError, ConfigError, nearest_name
from cinerecon.memory import is_out_of_memory

T = TypeVar("T")
Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of files."""

before_execution: ContextVar[Callable[[Path, str], None]] = ContextVar("before_execution", default=lambda *_: None)
"""Called with each file before its code is executed, and with what the class is; the command line prints it."""

_NAME = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")


def is_external(name: str) -> bool:
    """Whether a name is that of a class in a file."""
    return _NAME.fullmatch(name) is not None


def code_file(name: str) -> Path:
    """The file that contains an external class."""
    return Path(name.rpartition(":")[0])


def class_name(name: str) -> str:
    """The name of an external class without that of its file."""
    return name.rpartition(":")[2]


def located(name: str, folder: Path) -> str:
    """The name with the full path of its file, resolved relative to a folder; other names are unchanged."""
    if not is_external(name):
        return name
    return f"{(folder / code_file(name)).resolve()}:{class_name(name)}"


def portable(name: str) -> str:
    """The name without the folder of its file, for a folder that contains a copy of the code."""
    return f"{code_file(name).name}:{class_name(name)}" if is_external(name) else name


@dataclass(frozen=True)
class Code:
    """The code of an external class.

    Attributes
    ----------
    files
        The file in its name, and the modules that this file imports from the same folder.
    folder
        The folder of the code.
    """

    files: tuple[Path, ...]
    folder: Path

    @property
    def sha256(self) -> str:
        """SHA-256 of the code, with the names of its files."""
        total = hashlib.sha256()
        for file in self.files:
            total.update(f"{file.relative_to(self.folder).as_posix()}\n".encode() + file.read_bytes())
        return total.hexdigest()


@dataclass(frozen=True)
class ExternalClass(Generic[T]):
    """A class from outside the package.

    Attributes
    ----------
    type
        The class.
    module
        The module that was imported from the file.
    code
        Its code.
    """

    type: type[T]
    module: ModuleType
    code: Code


def load_class(name: str, base: type[T], kind: str, base_name: str, *, hint: str = "") -> ExternalClass[T]:
    """Import an external class; it is imported again after a change of a file in its folder.

    Parameters
    ----------
    name
        Path of a Python file and name of a class in it, ``mynet.py:MyNet``.
    base
        The class from which it must be derived.
    kind
        What the class is, for messages: ``network`` or ``method``.
    base_name
        Name of the base class under which users import it, for messages.
    hint
        Hint if the file is missing.

    Raises
    ------
    ConfigError
        If the file is missing or fails, or has no such class.
    """
    path = code_file(name).resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {path.name} with the {kind}", where=str(code_file(name)), hint=hint)
    module, code = _import(path, kind, _stamp(path.parent))
    known = {n: c for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, base) and c is not base}
    if class_name(name) not in known:
        hint = nearest_name(class_name(name), list(known)) if known else f"a class derived from {base_name}"
        raise ConfigError(f"there is no {kind} '{class_name(name)}' in {path.name}", where=str(path), hint=hint)
    return ExternalClass(known[class_name(name)], module, code)


def first_line(external: type) -> str:
    """The first line of the docstring of a class; empty if there is none."""
    return next(iter((inspect.cleandoc(external.__doc__ or "")).splitlines()), "").removesuffix(".")


def _stamp(folder: Path) -> Stamp:
    """Name, time of change and size of the Python files of a folder."""
    stamps = ((file.name, file.stat()) for file in sorted(folder.glob("*.py")) if file.is_file())
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stamps)


@lru_cache
def _import(path: Path, kind: str, _: Stamp) -> tuple[ModuleType, Code]:
    """Import the module of a file; the code is that of the files of its folder that it uses."""
    label = f"cinerecon_external_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(label, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before_execution.get()(path, kind)
    sys.modules[label] = module
    try:
        with _importing_from(path.parent) as siblings:
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[label]
        raise _failed(f"the code of the {kind} cannot be imported", error, path) from error
    return module, Code((path, *sorted(siblings)), path.parent)


def report_failures(external: type, names: Iterable[str], path: Path) -> None:
    """Let an external class report the errors of its own code as such, with file and line.

    Parameters
    ----------
    external
        The class, which is changed.
    names
        Names of its methods that the package calls.
    path
        Its file.
    """
    for name in names:
        function = getattr(external, name)
        if not hasattr(function, "reports_failures"):
            setattr(external, name, _reporting(function, f"{external.__name__}.{name}", path))


def _reporting(function: Callable[..., Any], name: str, path: Path) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except CineReconError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise _failed(f"{name} failed", error, path) from error

    call.reports_failures = True  # type: ignore[attr-defined]
    return call


def _failed(what: str, error: BaseException, path: Path) -> ConfigError:
    """The error if external code fails, with the last line in the folder of its file."""
    line = next((frame for frame in reversed(_frames(error)) if Path(frame[0]).parent == path.parent), None)
    where = f"{line[0]}, line {line[1]}" if line else str(path)
    return ConfigError(f"{what}: {type(error).__name__}: {error}", where=where, hint="--debug shows the traceback")


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
