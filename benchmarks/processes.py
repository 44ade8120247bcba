"""Training in one process and in two: time of a step, and of waiting for its batches.

    python benchmarks/processes.py models/slrnet/model.yaml --steps 20

Each step uses two batches: one process computes them one after the other, two processes one each, so that the weights
agree up to rounding. Each process has one thread. Only the second half of the steps is timed, since the first half
includes the start of the processes that draw batches. A preceding run fills the cache of simulated cases. The time
includes one validation, on a single patch, and its checkpoint.
"""

import argparse
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from command import make_parser, positive, run_benchmark
from pages import machine


@dataclass(frozen=True)
class Timing:
    """Time of a step, and the part of it that is spent waiting for batches [s]."""

    step: float
    waiting: float


def train(recipe: Path, run: Path, n_processes: int, options: argparse.Namespace) -> Timing:
    """Train in `n_processes` processes, and time the second half of the steps."""
    settings = [f"n_steps={options.steps}", f"save_every={options.steps // 2}", "n_validation=1"]
    settings += [f"n_batches={2 // n_processes}", *options.set]
    words = [word for setting in settings for word in ("--set", f"training.{setting}")]
    words += ["--workers", str(options.workers), "--cache", str(options.cache), "--device", "cpu", "-o", str(run)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]  # a free one
    launcher = ["torch.distributed.run", "--nproc-per-node", str(n_processes), "--master-port", str(port), "-m"]
    command = [sys.executable, "-m", *(launcher if n_processes > 1 else []), "cinerecon.cli", "train", str(recipe)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    with (run / "log.csv").open(newline="") as file:
        first, last = list(csv.DictReader(file))[-2:]
    n_steps = int(last["step"]) - int(first["step"])
    return Timing(*((float(last[name]) - float(first[name])) / n_steps for name in ("seconds", "waited_seconds")))


def main() -> None:
    """Train in one process and in two, and print both as JSON."""
    parser = make_parser(__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=positive, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw batches, for each training process")
    parser.add_argument("--set", action="append", default=[], help="setting of the training, may be repeated")
    parser.add_argument("--cache", type=Path, help="folder of simulated cases, kept for later runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.cache = options.cache or Path(folder) / "cases"
        train(options.recipe, Path(folder) / "first", 1, options)
        one, two = (train(options.recipe, Path(folder) / str(n), n, options) for n in (1, 2))
    figures = {"one process, s per step": one.step, "two processes, s per step": two.step}
    figures |= {"waiting, one process, s": one.waiting, "waiting, two processes, s": two.waiting}
    figures["gain of two processes"] = one.step / two.step
    print(machine())
    print(json.dumps({name: round(value, 3) for name, value in figures.items()} | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    run_benchmark(main)
