"""The tables of checks: each check of the folder is in one, and a check that explains another hides it."""

import inspect

import pytest

from cinerecon.acquisition.checks import array_table, table
from cinerecon.acquisition.checks.table import Check, run_checks

NAMES = vars(table) | vars(array_table)
TABLES = [value for name, value in NAMES.items() if name.endswith("_CHECKS")]


@pytest.mark.parametrize("checks", TABLES)
def test_checks_explain_later_ones(checks):
    names = list(checks)
    for number, (name, check) in enumerate(checks.items()):
        assert set(check.explains) <= {*names[number + 1 :]}, name
        assert inspect.getdoc(check.run), name


def test_a_check_hides_those_that_it_explains():
    checks = {
        "silent": Check("", lambda _: None, explains=("second",)),
        "first": Check("", lambda text: [text], explains=("third",)),
        "second": Check("", lambda text: [2 * text]),
        "third": Check("", lambda text: [3 * text]),
    }
    assert list(run_checks(checks, "x")) == ["x", "xx"]


def test_all_checks_of_readouts_and_arrays_are_in_a_table():
    """The public functions whose only parameter is a subject of the tables."""
    used = {check.run for checks in TABLES for check in checks.values()}
    modules = [value for value in NAMES.values() if inspect.ismodule(value)]
    functions = [function for module in modules for _, function in inspect.getmembers(module, inspect.isfunction)]
    public = [function for function in functions if not function.__name__.startswith("_")]
    checks = [f for f in public if [*inspect.signature(f).parameters] in (["layout"], ["central"], ["stored"])]
    assert [function.__name__ for function in checks if function not in used] == []
