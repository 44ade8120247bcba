"""Predicted and measured peak memory of reconstructions, by size and method.

    python benchmarks/memory.py --write
    python benchmarks/memory.py --scan scan.h5 --model ktslr --set n_iterations=2 --write

Each reconstruction is the command ``cinerecon recon --memory`` in a process of its own, which reports its prediction
before it reads samples; the measurement is the peak of its resident memory, Python and its libraries included. Without
a scan, phantoms of several sizes are simulated, fully sampled, so that every sample of k-space occupies memory.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from report import PAGE, machine, write_section

from cinerecon.memory import parse_size

SIZES = ((8, 16, 96), (32, 25, 160))
"""Coils, frames, and side of the matrix."""
MODELS = {"zerofilled": (), "cgsense": ("n_iterations=2",), "ktslr": ("n_iterations=2",), "slrnet": ()}
"""Methods with their settings: few iterations, which take as much memory as many."""
LIMITS = ("4GB", "450MB")
"""A limit that all keep as they are, and one that needs a plan, or is refused."""


@dataclass(frozen=True)
class Run:
    """One reconstruction: predicted and measured peak [bytes], and the plan in words; 0 measured if refused."""

    size: str
    model: str
    limit: str
    predicted: int
    measured: int
    plan: str

    @property
    def row(self) -> str:
        """A row of the table."""
        if not self.measured:
            return (
                f"| {self.size} | {self.model} | {self.limit} | {self.predicted / 1e6:.0f} | refused | | {self.plan} |"
            )
        numbers = f"{self.predicted / 1e6:.0f} | {self.measured / 1e6:.0f} | {self.measured / self.predicted:.2f}"
        return f"| {self.size} | {self.model} | {self.limit} | {numbers} | {self.plan} |"


def run_recon(scan: Path, size: str, model: str, settings: Sequence[str], limit: str) -> Run:
    """Reconstruct a scan within a limit, and print the prediction as soon as it is made."""
    options = [text for setting in settings for text in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        recon = [sys.executable, "-m", "cinerecon.cli", "recon", str(scan), "--model", model, "--memory", limit]
        command = [sys.executable, str(Path(__file__).with_name("launch.py")), *recon, *options]
        with subprocess.Popen(
            [*command, "-o", f"{folder}/o.npz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "predicted" in line or line.startswith(("error", "try")):
                    print(f"{size}, {model}: {line.strip()}", flush=True)
            usage = json.loads(process.stdout.read())
    text = "".join(lines)
    if (refused := re.search(r"takes ([\d.]+ \w+) at least", text)) is not None:
        return Run(size, model, limit, parse_size(refused[1]), 0, "")
    plan = re.search(r"memory: ([\d.]+ \w+) predicted of [\d.]+ \w+, (.*)", text)
    if plan is None:
        sys.exit(text)
    return Run(size, model, limit, parse_size(plan[1]), round(usage["memory_mb"] * 2**20), plan[2])


def simulated(folder: Path) -> Iterator[tuple[str, Path]]:
    """Scans of all sizes."""
    for coils, frames, side in SIZES:
        path = folder / f"{coils}.h5"
        sizes = ["--coils", str(coils), "--frames", str(frames), "--ky", str(side), "--kx", str(side)]
        subprocess.run([sys.executable, "-m", "cinerecon.cli", "simulate", "-o", str(path), *sizes], check=True)
        yield f"{coils} coils, {frames} x {side} x {side}", path


def runs(scan: Path | None, size: str, models: dict[str, tuple[str, ...]], limits: Sequence[str]) -> Iterator[Run]:
    """All reconstructions."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in simulated(Path(folder)) if scan is None else [(size, scan)]:
            for model, settings in models.items():
                for limit in limits:
                    yield run_recon(path, name, model, settings, limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a raw scan in place of simulated ones")
    parser.add_argument("--size", default="", help="its size in words, for the table")
    parser.add_argument("--model", choices=MODELS, help="one method in place of all")
    parser.add_argument("--limit", action="append", help="limit of memory; may be repeated")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    options = parser.parse_args()
    models = {options.model: MODELS[options.model]} if options.model else MODELS
    header = "| size | method | limit | predicted [MB] | measured [MB] | ratio | plan |\n" + "|---" * 7 + "|"
    found = list(runs(options.scan, options.size, models, options.limit or LIMITS))
    table = "\n".join([machine(), "", header, *(run.row for run in found)])
    print(table)
    if options.write:
        write_section("memory" if options.scan is None else "memory-large", table)


if __name__ == "__main__":
    main()
