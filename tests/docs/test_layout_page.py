"""The path of a reconstruction in `reference/layout.md` is that of the program."""

import re
import sys
from pathlib import Path

import pytest

from cinerecon import cli
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_scan

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cinerecon"
PAGE = (ROOT / "docs/reference/layout.md").read_text(encoding="utf-8")
PATH = dict(re.findall(r"^\| `([\w/.]+\.py)` \| `(\w+)` \|", PAGE, re.MULTILINE))
OTHERS = {
    name for row in re.findall(r"^\| (`[^|]+`) \| [^|`]*\|$", PAGE, re.MULTILINE) for name in row.split("`")[1::2]
}


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """File and name of each function that `cinerecon recon --model slrnet` calls."""
    folder = tmp_path_factory.mktemp("path")
    scan = folder / "scan.h5"
    simulate_scan(scan, SimulateConfig(n_frames=8, ky=64, kx=64, n_coils=4, undersample="gaussian:4,acs=8"))
    functions = set()

    def record(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)) and not code.co_name.startswith("<"):
            functions.add((str(Path(code.co_filename).relative_to(PACKAGE)), code.co_name, code.co_flags & 1))

    arguments = sys.argv
    sys.argv = ["cinerecon", "recon", str(scan), "--model", "slrnet", "-o", str(folder / "cine.h5")]
    sys.setprofile(record)
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
    finally:
        sys.setprofile(None)
        sys.argv = arguments
    assert end.value.code == 0
    return {(file, name) for file, name, is_function in functions if is_function}


@pytest.mark.slow
def test_files_of_the_path_are_executed(called):
    assert len(PATH) == 20
    assert set(PATH.items()) <= called


@pytest.mark.slow
def test_page_names_all_files_that_are_executed(called):
    names = {*PATH, *OTHERS}
    missing = {file for file, _ in called if not any(file == name or file.startswith(name) for name in names)}
    assert missing == set()
    assert [name for name in OTHERS if not any(file.startswith(name) for file, _ in called)] == []
