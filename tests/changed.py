"""Print the tests of the files that differ from a revision, by default the last commit, for ``make check``.

Tests mirror the package: ``cinerecon/io/mask.py`` is tested by ``tests/io/test_mask.py``. Without a file of that name,
all tests of the folder are run. Those of all benchmarks are in ``tests/benchmarks``.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ALWAYS = ("tests/test_language.py", "tests/test_layout.py")


def changed_files(revision: str) -> list[Path]:
    """Files that differ from a revision, and new ones."""
    commands = (["diff", "--name-only", "--relative", revision], ["ls-files", "--others", "--exclude-standard"])
    outputs = (subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout for words in commands)
    return sorted({Path(line) for output in outputs for line in output.splitlines()})


def tests_of(path: Path) -> Iterator[Path]:
    """The test files or folders of one file; none for a file without tests."""
    folder = Path("tests", *path.parts[1:-1])
    if path.suffix in (".md", ".yml"):
        yield Path("tests/docs")
    elif path.parts[0] == "benchmarks":
        yield Path("tests/benchmarks")
    elif path.parts[0] == "tests":
        yield path if path.name.startswith("test_") else path.parent
    elif path.parts[0] == "cinerecon" and path.suffix == ".py":
        own = folder / f"test_{path.stem}.py"
        yield own if own.exists() or folder == Path("tests") else folder


def select_tests(paths: Iterable[Path]) -> list[str]:
    """The test files and folders to run after changes of some files, each once."""
    tests = {test for path in paths for test in tests_of(path) if test.exists() and test != Path("tests")}
    return sorted({*ALWAYS, *(test.as_posix() for test in tests if tests.isdisjoint(test.parents))})


if __name__ == "__main__":
    print(*select_tests(changed_files(sys.argv[1] if len(sys.argv) > 1 else "HEAD")))
