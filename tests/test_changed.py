"""The tests that ``make check`` selects for changed files."""

import subprocess
from pathlib import Path

import pytest
from changed import ALWAYS, changed_files, select_tests

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cinerecon/io/mask.py", ["tests/io/test_mask.py"]),
        ("cinerecon/acquisition/readouts/select.py", ["tests/acquisition/readouts"]),
        ("cinerecon/machine.py", ["tests/test_machine.py"]),
        ("cinerecon/errors.py", []),
        ("tests/io/test_mask.py", ["tests/io/test_mask.py"]),
        ("tests/acquisition/conftest.py", ["tests/acquisition"]),
        ("tests/helpers.py", []),
        ("docs/index.md", ["tests/docs"]),
        ("benchmarks/quality.py", ["tests/benchmarks"]),
        ("models/slrnet/weights.safetensors", []),
    ],
)
def test_tests_of_a_file_are_those_of_its_name_or_folder(path, expected):
    assert select_tests([Path(path)]) == sorted([*ALWAYS, *expected])


def test_a_file_in_a_folder_that_is_run_is_run_once():
    paths = [Path("cinerecon/acquisition/source.py"), Path("cinerecon/acquisition/checks/measured.py")]
    assert select_tests(paths) == sorted([*ALWAYS, "tests/acquisition"])


def test_files_that_differ_or_are_new_count_as_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "same.py").write_text("1")
    (tmp_path / "other.py").write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "other.py").write_text("2")
    (tmp_path / "new.py").write_text("3")
    assert changed_files("HEAD") == [Path("new.py"), Path("other.py")]
