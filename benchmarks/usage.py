"""Time and memory of a reconstruction, or of a command in a separate process."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = (sys.executable, str(Path(__file__).with_name("launch.py")))
"""Prefix of a command: runs it, and prints its wall time, CPU time and peak memory as JSON."""


@dataclass(frozen=True)
class Usage:
    """Time and memory of a run.

    Attributes
    ----------
    wall_s, cpu_s
        Wall time, and CPU time of all threads together [s].
    memory_mb
        Peak memory of the process [MB].
    minimum_s
        Time that the Fourier transforms and the shrinkage of singular values alone take [s]; 0 if not measured.
    n_iterations
        Iterations; 0 for methods that do not iterate.
    """

    wall_s: float
    cpu_s: float
    memory_mb: float
    minimum_s: float = 0.0
    n_iterations: int = 0


def run_measured(command: Sequence[str]) -> Usage:
    """Run a command to its end, and measure it."""
    done = subprocess.run([*LAUNCHER, *command], capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return Usage(**json.loads(done.stdout))
