"""Predicted and measured peak memory of reconstructions, for several sizes and methods.

    python benchmarks/memory.py --write
    python benchmarks/memory.py --scan scan.h5 --size "64 coils, 50 x 256 x 256" --limit 4GB --write

Each reconstruction is a command ``cinerecon recon --memory``, which reports its prediction before it reads samples. The
measurement is the peak of the resident memory of the process, including Python and its libraries. Without ``--scan``,
fully sampled phantoms of several sizes are simulated, so that every sample of k-space occupies memory.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from command import make_parser, run_benchmark
from pages import PAGE, machine, markdown_table, write_section
from usage import LAUNCHER, Usage

from cinerecon.memory import parse_size

SIZES = ((8, 16, 96), (32, 25, 160))
"""Coils, frames, and side of the matrix."""
MODELS = {"zerofilled": (), "cgsense": ("n_iterations=2",), "ktslr": ("n_iterations=2",), "slrnet": ()}
"""Methods with their settings; few iterations take as much memory as many."""
LIMITS = ("4GB", "450MB")
"""A limit that has no effect, and one that changes the reconstruction or refuses it."""


@dataclass(frozen=True)
class Run:
    """Predicted and measured peak memory of a reconstruction [bytes] (0 if refused), and its plan in words."""

    size: str
    model: str
    limit: str
    predicted: int
    measured: int
    plan: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of a row of the table."""
        measured, ratio = "refused", ""
        if self.measured:
            measured, ratio = f"{self.measured / 1e6:.0f}", f"{self.measured / self.predicted:.2f}"
        return self.size, self.model, self.limit, f"{self.predicted / 1e6:.0f}", measured, ratio, self.plan


def run_recon(scan: Path, size: str, model: str, settings: Sequence[str], limit: str) -> Run:
    """Reconstruct a scan within a limit of memory, and print the prediction as soon as it is reported."""
    options = [text for setting in settings for text in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        recon = [sys.executable, "-m", "cinerecon.cli", "recon", str(scan), "--model", model, "--memory", limit]
        command = [*LAUNCHER, *recon, *options, "-o", f"{folder}/o.npz"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "predicted" in line or line.startswith(("error", "try")):
                    print(f"{size}, {model}: {line.strip()}", flush=True)
            usage = Usage(**json.loads(process.stdout.read()))
    text = "".join(lines)
    if (refused := re.search(r"needs at least ([\d.]+ \w+)", text)) is not None:
        return Run(size, model, limit, parse_size(refused[1]), 0, "")
    plan = re.search(r"memory: ([\d.]+ \w+) predicted of [\d.]+ \w+, (.*)", text)
    if plan is None:
        sys.exit(text)
    return Run(size, model, limit, parse_size(plan[1]), round(usage.memory_mb * 2**20), plan[2])


def simulate_scans(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write a scan of each size; yields the size in words and the file."""
    for coils, frames, side in SIZES:
        path = folder / f"{coils}.h5"
        sizes = ["--coils", str(coils), "--frames", str(frames), "--ky", str(side), "--kx", str(side)]
        subprocess.run([sys.executable, "-m", "cinerecon.cli", "simulate", "-o", str(path), *sizes], check=True)
        yield f"{coils} coils, {frames} x {side} x {side}", path


def run_all(scan: Path | None, size: str, models: dict[str, tuple[str, ...]], limits: Sequence[str]) -> Iterator[Run]:
    """Run all reconstructions."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in simulate_scans(Path(folder)) if scan is None else [(size, scan)]:
            for model, settings in models.items():
                for limit in limits:
                    yield run_recon(path, name, model, settings, limit)


def main() -> None:
    parser = make_parser(__doc__, writes=f"the table to {PAGE.name}")
    parser.add_argument("--scan", type=Path, help="a raw scan instead of simulated ones")
    parser.add_argument("--size", default="", help="size of this scan in words, for the table")
    parser.add_argument("--model", choices=MODELS, help="default: all")
    parser.add_argument("--limit", action="append", help="limit of memory, may be repeated")
    options = parser.parse_args()
    models = {options.model: MODELS[options.model]} if options.model else MODELS
    heads = "size", "method", "limit", "predicted [MB]", "measured [MB]", "ratio", "plan"
    runs = run_all(options.scan, options.size, models, options.limit or LIMITS)
    text = f"{machine()}\n\n{markdown_table(heads, [run.cells for run in runs])}"
    print(text)
    if options.write:
        write_section("memory" if options.scan is None else "memory-large", text)


if __name__ == "__main__":
    run_benchmark(main)
