"""Commands that do not compute load neither PyTorch nor SciPy: each is run in a process of its own, with real input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cinerecon.cli import COMMANDS

HEAVY = ("torch", "scipy", "sigpy", "matplotlib")
ROOT = Path(__file__).parents[2]
SCAN = ROOT / "sample_data/phantom_cine.h5"
HELP = [[name, "--help"] for name in COMMANDS] + [["models", "show", "--help"], ["models", "import", "--help"]]
MODELS = [
    ["models"],
    ["models", "--json"],
    ["models", "show", "slrnet"],
    ["models", "show", "slrnet", "--settings"],
    ["models", "show", "ktslr-reference", "--settings"],
]


def loaded_by(code, folder):
    """Run Python code in a process of its own; the heavy libraries that it loads, and its standard output."""
    report = f"import json, sys; json.dump([n for n in {HEAVY} if n in sys.modules], open('loaded.json', 'w'))"
    script = f"try:\n    {code}\nfinally:\n    {report}\n"
    outcome = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return json.loads((folder / "loaded.json").read_text()), outcome.stdout


def run_command(arguments, folder):
    """Run a command; see `loaded_by`."""
    arguments = ["cinerecon", *map(str, arguments)]
    return loaded_by(f"import sys; sys.argv = {arguments!r}; from cinerecon.cli import main; main()", folder)


def test_the_check_sees_what_is_loaded(tmp_path):
    assert loaded_by("import torch", tmp_path)[0] == ["torch"]


@pytest.mark.parametrize("arguments", [*HELP, *MODELS], ids=" ".join)
def test_a_command_that_computes_nothing_is_light(arguments, tmp_path):
    loaded, printed = run_command(arguments, tmp_path)
    assert loaded == []
    assert printed


def test_import_is_light_and_quick(tmp_path):
    """CPU time of the import alone, so that a busy machine does not matter."""
    code = "import time; t = time.process_time(); import cinerecon; print(time.process_time() - t)"
    loaded, seconds = loaded_by(code, tmp_path)
    assert loaded == []
    assert float(seconds) < 0.15
