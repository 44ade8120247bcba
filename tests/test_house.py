"""The house: imports only go down, inside a floor only to its shared files; what is heavy is imported late."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cinerecon"
FLOORS = (
    {"errors", "axes", "config", "memory"},
    {"data", "metrics"},
    {"physics"},
    {"networks"},
    {"methods"},
    {"workflows"},
    {"cli"},
)
SHARED = {
    *(
        "data.cine",
        "data.image",
        "data.files",
        "data.hdf5",
        "data.mrd",
        "data.mrd_file",
        "data.mrd_header",
        "data.mrd_heap",
        "data.matlab",
        "data.person",
        "metrics.measures",
        "metrics.heart",
        "errors",
        "axes",
        "config",
    ),
    *(
        "physics.fourier",
        "physics.operators",
        "networks.blocks",
        "networks.branches",
        "networks.lowrank_module",
        "networks.position_aware",
        "networks.unrolled",
        "methods.base",
        "methods.splitting",
        "methods.table",
    ),
    *("workflows.intake", "workflows.machine", "workflows.undersample", "workflows.dataset", "cli.progress"),
}
LISTS = {"data.export", "metrics", "methods.table", "networks", "cli.main"}  # the files that list all of their floor
FILES = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))


def floor(unit):
    return next(level for level, names in enumerate(FLOORS) if unit.split(".")[0] in names)


def unit_of(parts):
    """The file, or the folder below a floor that acts as one file."""
    return ".".join([part for part in parts if part != "__init__"][:2])


def imported_units(path):
    for node in ast.walk(ast.parse((PACKAGE / path).with_suffix(".py").read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for parts in (name.split(".")[1:] for name in names if name.startswith("cinerecon.")):
            is_module = (PACKAGE / "/".join(parts[:2])).with_suffix(".py").exists() or (
                PACKAGE / "/".join(parts[:2])
            ).is_dir()
            yield unit_of(parts if is_module else parts[:1])


@pytest.mark.parametrize("path", [path for path in FILES if str(path) != "__init__"], ids=str)
def test_imports_go_down(path):
    here = unit_of(path.parts)
    for unit in imported_units(path):
        assert floor(unit) <= floor(here), f"{here} imports {unit} from a floor above"
        inside = floor(unit) == floor(here) and unit != here
        assert not inside or unit in SHARED or here in LISTS, f"{here} imports its neighbour {unit}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_short(path):
    text = (PACKAGE / path).with_suffix(".py").read_text()
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.body[0].lineno < 70, f"{node.name} is long"


def test_nobody_prints_or_exits_but_the_commands():
    for path in FILES:
        if path.parts[0] != "cli":
            names = {
                n.func.id
                for n in ast.walk(ast.parse((PACKAGE / path).with_suffix(".py").read_text()))
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
            }
            assert not names & {"print", "exit", "quit"}, path


def test_help_and_import_are_light():
    code = (
        "import sys, cinerecon, cinerecon.cli.main; print(*sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == ""


def test_public_names_are_there():
    import cinerecon

    for name in cinerecon.__all__:
        assert getattr(cinerecon, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cinerecon.nonsense  # noqa: B018
