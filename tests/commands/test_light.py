"""Commands that do not compute load neither PyTorch nor SciPy: each is run in a process of its own, with real input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cinerecon.cli import COMMANDS
from cinerecon.physics.sampling import PATTERNS, parse_mask

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


@pytest.mark.parametrize("pattern", PATTERNS)
def test_masks_are_drawn_and_read_by_numpy(pattern, tmp_path):
    number = "" if pattern == "full" else ":16" if pattern == "radial" else ":4"
    sizes = ("--frames", 5, "--ky", 40, "--kx", 36, "--seed", 3)
    loaded, printed = run_command(["mask", pattern + number, *sizes, "-o", "mask.npz"], tmp_path)
    assert loaded == []
    assert "wrote" in printed
    expected = parse_mask(pattern + number).draw(5, 40, 36, seed=3)
    assert np.array_equal(np.load(tmp_path / "mask.npz")["mask"], expected)


def test_a_mask_with_the_order_of_its_lines_is_light(tmp_path):
    assert run_command(["mask", "cava:4", "--order", "pattern", "-o", "mask.npz"], tmp_path)[0] == []
    assert run_command(["mask", "mask.npz", "--order", "linear", "-o", "again.npz"], tmp_path)[0] == []
    masks = [np.load(tmp_path / name)["mask"] for name in ("mask.npz", "again.npz")]
    assert np.array_equal(*masks)
