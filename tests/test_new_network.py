"""A new network is its settings, a file, a line in the table and a folder: CONTRIBUTING.md, followed literally."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A new network")[2]
SETTINGS, FILE, LINE, RECIPE = (
    re.search(rf"{before}.*?```(?:python|yaml)\n(.*?)```", SECTION, re.DOTALL)[1]
    for before in (
        "`cinerecon/networks/config.py`",
        "`cinerecon/networks/plainnet.py`",
        "The line in `NETWORKS`",
        "`models/plainnet/model.yaml`",
    )
)
TINY = (
    *("--set", "training.n_steps=2", "--set", "training.n_validation=1", "--set", "training.data.crops=48x32"),
    *("--set", "training.data.sources.phantom={kind: phantom, n_cases: 1, matrix: [48, 48]}"),
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the source tree with the four additions, and no others."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("cinerecon", "models", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "cinerecon/networks/plainnet.py").write_text(FILE, encoding="utf-8")
    with (folder / "cinerecon/networks/config.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{SETTINGS}")
    table = folder / "cinerecon/networks/table.py"
    head, opening, rest = table.read_text(encoding="utf-8").partition("NETWORKS = {\n")
    table.write_text(head + opening + LINE + rest, encoding="utf-8")
    (folder / "models/plainnet").mkdir()
    (folder / "models/plainnet/model.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def run(folder, *arguments):
    """Run Python in the copy; what it printed."""
    environment = os.environ | {"PYTHONPATH": f"{folder}:{folder / 'tests'}"}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_four_additions_make_a_method(clone):
    lines = (
        "cinerecon models",
        f"cinerecon train models/plainnet/model.yaml -o runs/plainnet {shlex.join(TINY)}",
        "cp runs/plainnet/weights.safetensors models/plainnet",
        "cinerecon simulate -o scan.h5 --frames 4 --ky 32 --kx 32 --coils 2",
        "cinerecon recon scan.h5 --model plainnet -o out.npz --undersample gaussian:2",
    )
    printed = run(clone, "-c", f"from page_runner import run_here; run_here({[('sh', line) for line in lines]})")
    assert re.search(r"plainnet +none +2,595", printed)
    assert "against the reference" in printed
    assert (clone / "out.npz").exists()


@pytest.mark.slow
def test_the_network_keeps_the_contract_and_the_layout(clone):
    tests = ("tests/methods/test_contract.py", "tests/methods/test_table.py", "tests/test_layout.py")
    printed = run(clone, "-m", "pytest", "--verbose", "-k", "plainnet", "-p", "no:cacheprovider", *tests)
    assert int(re.search(r"(\d+) passed", printed)[1]) > 10
