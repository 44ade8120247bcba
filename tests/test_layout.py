"""The layout of the package: imports go down from row to row, never in a circle; heavy libraries are imported late."""

import ast
import importlib.metadata
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cinerecon"
ROWS = (
    {
        "version",
        "errors",
        "external",
        "axes",
        "config",
        "options",
        "memory",
        "machine",
        "cine_meta",
        "cine",
        "image",
        "provenance",
        "verdict",
        "words",
    },
    {"io"},
    {"archives"},
    {"metrics"},
    {"physics"},
    {"simulation"},
    {"acquisition"},
    {"networks"},
    {"methods"},
    {"training"},
    {"evaluation"},
    {"reconstruction"},
    {"preparation"},
    {"commands"},
    {"__main__", "cli"},
)
FILES = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))


def row(path):
    return next(number for number, names in enumerate(ROWS) if path.parts[0] in names)


def source_of(path):
    return (PACKAGE / path).with_suffix(".py").read_text()


@cache
def nodes_of(path):
    """All nodes of the syntax tree of a file."""
    return list(ast.walk(ast.parse(source_of(path))))


def imported_files(path):
    """The files of the package that a file imports, wherever in it."""
    for node in nodes_of(path):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for parts in (name.split(".")[1:] for name in names if name.startswith("cinerecon.")):
            longest = (Path(*parts[:n]) for n in range(len(parts), 0, -1))
            yield next(file for module in longest for file in (module, module / "__init__") if file in FILES)


@pytest.mark.parametrize("path", [path for path in FILES if str(path) != "__init__"], ids=str)
def test_imports_go_down(path):
    for imported in imported_files(path):
        assert row(imported) <= row(path), f"{path} imports {imported} from a row above"


def circle_of(graph):
    """The nodes of one circle, empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_imports_make_no_circle():
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert circle_of({path: set(imported_files(path)) - {path} for path in FILES if str(path) != "__init__"}) == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_short(path):
    assert source_of(path).count("\n") <= 400
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 70, f"{node.name} is long"


def test_only_commands_print_or_exit():
    for path in FILES:
        if path.parts[0] not in ("commands", "cli"):
            calls = (node.func for node in nodes_of(path) if isinstance(node, ast.Call))
            assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"print", "exit", "quit"}, path


def test_help_and_import_are_light():
    code = "import sys, cinerecon, cinerecon.cli; print(*sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == ""


def test_public_names_exist():
    import cinerecon

    for name in cinerecon.__all__:
        assert getattr(cinerecon, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cinerecon.nonsense  # noqa: B018
    assert cinerecon.__version__ == importlib.metadata.version("cinerecon")
