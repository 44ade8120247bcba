"""Parameters and attributes that a docstring describes are those of the code; see "Prose" in CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cinerecon"
FILES = sorted(PACKAGE.rglob("*.py"))


def described(docstring, heading):
    """Names in a section of a NumPy docstring, in order."""
    section = re.search(rf"^{heading}\n-+\n(.*?)(?=^\S[^\n]*\n-{{3,}}$|\Z)", docstring or "", re.DOTALL | re.MULTILINE)
    lines = section[1].splitlines() if section else []
    return [name.strip(" *") for line in lines if line[:1].strip() for name in line.split(",")]


def arguments(function):
    """Names of the arguments of a function."""
    parts = function.args
    positional = [*parts.posonlyargs, *parts.args, *parts.kwonlyargs]
    return {argument.arg for argument in (*positional, parts.vararg, parts.kwarg) if argument} - {"self", "cls"}


def attributes(node):
    """Names of the fields, properties and attributes of a class; those of its bases are not known."""
    fields = {
        part.target.id for part in ast.walk(node) if isinstance(part, ast.AnnAssign) and hasattr(part.target, "id")
    }
    stored = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store))
    return fields | {part.attr for part in stored} | {part.name for part in node.body if hasattr(part, "name")}


def wrong_names(tree):
    """Parameters and attributes that a docstring describes and the code does not have, and missing parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            known = arguments(node)
        elif isinstance(node, ast.ClassDef):
            known = {name for part in node.body if isinstance(part, ast.FunctionDef) for name in arguments(part)}
            own = attributes(node)
            names = described(ast.get_docstring(node), "Attributes")
            yield from (f"{node.name}: {name}" for name in names if not node.bases and name not in own)
            known |= own
        else:
            continue
        names = described(ast.get_docstring(node), "Parameters")
        yield from (f"{node.name}: {name}" for name in names if name not in known)
        if names and isinstance(node, ast.FunctionDef):
            yield from (f"{node.name}: {name} is not described" for name in sorted(known - set(names)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_describe_the_parameters(path):
    assert list(wrong_names(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_parameters_that_differ_are_found():
    code = '''
class Scale:
    """Scale.

    Attributes
    ----------
    factor, unit
        Factor and unit.
    """

    factor: float

    def apply(image, factor):
        """Scale.

        Parameters
        ----------
        image, gain
            Image and factor.

        Raises
        ------
        ValueError
            Never.
        """
'''
    assert list(wrong_names(ast.parse(code))) == ["Scale: unit", "apply: gain", "apply: factor is not described"]


def identifiers(tree):
    """Names of functions, classes, variables, attributes, arguments and imports."""
    values = (getattr(node, name, None) for node in ast.walk(tree) for name in ("name", "id", "attr", "arg"))
    return {part for value in values if isinstance(value, str) for part in value.split(".")}


def references(tree):
    """Names in single backticks in docstrings, also those of attributes."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and hasattr(node.value, "value"))
    names = (re.findall(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)", str(text.value)) for text in texts)
    return {name for found in names for name in found}


def test_names_in_docstrings_exist():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
    known = {part for path in FILES for part in (*path.relative_to(PACKAGE.parent).parts, path.stem)}
    known |= set().union(*map(identifiers, trees.values()))
    named = ((path.stem, name) for path, tree in trees.items() for name in references(tree))
    assert [(stem, name) for stem, name in named if name.rpartition(".")[2] not in known] == []
