"""CPU time and number of modules of commands that do not compute, each in a separate process.

    python benchmarks/start.py

The fastest of several runs counts.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row

SCAN = Path(__file__).parents[1] / "sample_data/phantom_cine.h5"
COMMANDS = (
    ("mask", "gaussian", "--force"),
    ("models",),
    ("models", "show", "slrnet", "--settings"),
    ("models", "show", "ktslr", "--settings"),
    ("inspect", str(SCAN)),
    ("recon", "--help"),
)
CODE = """
import json, sys, time
start = time.process_time()
sys.argv = ["cinerecon", *json.loads(sys.argv[1])]
from cinerecon.cli import main
try:
    main()
finally:
    seconds = time.process_time() - start
    heavy = [name for name in ("torch", "scipy") if name in sys.modules]
    print(json.dumps([seconds, len(sys.modules), ", ".join(heavy) or "neither"]), file=sys.stderr)
"""


def measure(command: tuple[str, ...], folder: str) -> tuple[float, int, str]:
    """CPU time [s], number of modules, and which of PyTorch and SciPy were imported."""
    call = [sys.executable, "-c", CODE, json.dumps(command)]
    outcome = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    seconds, n_modules, heavy = json.loads(outcome.stderr.splitlines()[-1])
    return seconds, n_modules, heavy


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=positive, default=3)
    repeats = parser.parse_args().repeats
    print(markdown_head(("command", "CPU time [s]", "modules", "of PyTorch and SciPy")))
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            seconds, n_modules, heavy = min(measure(command, folder) for _ in range(repeats))
            text = " ".join(command).replace(str(SCAN), SCAN.name)
            print(markdown_row((f"`cinerecon {text}`", f"{seconds:.2f}", n_modules, heavy)), flush=True)


if __name__ == "__main__":
    run_benchmark(main)
