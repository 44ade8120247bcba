"""BART's `pics` on a cine, where the program `bart` is installed.

Data go in as they are, of peak 1 in the image (`-w 1`), with the same coil maps; one coil has a map of ones. Weights
are those of `bart_weights.yaml`, found by `classical.py --tune`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from worker import Usage

from cinerecon.cine import CineData

N_DIMENSIONS = 16
COIL, TIME = 3, 10
SPACE_FLAGS, TIME_FLAGS = 0b11, 1 << TIME
WEIGHTS_FILE = Path(__file__).with_name("bart_weights.yaml")
HEADER = "# BART's weights for data of peak 1: the best on a grid of factors of 2, `benchmarks/classical.py --tune`\n"


@dataclass(frozen=True)
class Weights:
    """Regularisation of one run; a term of weight 0 is left out.

    Attributes
    ----------
    low_rank
        Weight of locally low rank in blocks of 16 x 16 pixels.
    time, space
        Weights of the total variation in time and in space.
    rho
        ADMM's penalty.
    """

    low_rank: float = 0.0
    time: float = 0.0
    space: float = 0.0
    rho: float = 0.05

    @property
    def arguments(self) -> list[str]:
        """Command line options of `pics`."""
        terms = (
            (self.low_rank, f"L:{SPACE_FLAGS}:{SPACE_FLAGS}"),
            (self.time, f"T:{TIME_FLAGS}:0"),
            (self.space, f"T:{SPACE_FLAGS}:0"),
        )
        chosen = [option for weight, term in terms if weight for option in ("-R", f"{term}:{weight:g}")]
        return ["-w", "1", "-i", "100", "-m", "-u", f"{self.rho:g}", "-b", "16", *chosen]


METHODS = ("bart llr", "bart ttv", "bart llr+tv")


def read_weights(method: str, n_coils: int) -> Weights:
    """Weights found before for one coil or for several."""
    found = yaml.safe_load(WEIGHTS_FILE.read_text(encoding="utf-8"))[_group(n_coils)][method]
    return Weights(**{name: value for name, value in found.items() if name != "found_on"})


def write_weights(method: str, n_coils: int, weights: Weights, found_on: str) -> None:
    """Put weights in the place of those found before."""
    found = yaml.safe_load(WEIGHTS_FILE.read_text(encoding="utf-8"))
    found[_group(n_coils)][method] = {k: v for k, v in asdict(weights).items() if v} | {"found_on": found_on}
    WEIGHTS_FILE.write_text(HEADER + yaml.safe_dump(found, sort_keys=False), encoding="utf-8")


def _group(n_coils: int) -> str:
    return "one coil" if n_coils == 1 else "several coils"


def search(start: Weights, judge: Callable[[Weights], float], factor: float = 2.0) -> tuple[Weights, float]:
    """The best weights on a grid of powers of the factor around the start, one number at a time until none helps."""
    best, best_score = start, judge(start)
    names = [name for name, value in asdict(start).items() if value]
    tried, since_gain = {start}, 0
    while since_gain < len(names):
        name = names[0]
        names = [*names[1:], name]
        since_gain += 1
        for step in (factor, 1 / factor):
            while (candidate := replace(best, **{name: getattr(best, name) * step})) not in tried:
                tried.add(candidate)
                score = judge(candidate)
                if score <= best_score:
                    break
                best, best_score, since_gain = candidate, score, 0
    return best, best_score


def is_installed() -> bool:
    return shutil.which("bart") is not None


def version() -> str:
    return subprocess.run(["bart", "version"], capture_output=True, text=True, check=True).stdout.strip()


def reconstruct(data: CineData, weights: Weights) -> tuple[Tensor, Usage]:
    """The image ``(frames, y, x)`` of a cine without batch axes, and what the run took."""
    with tempfile.TemporaryDirectory() as folder:
        kspace, maps, mask, image = (Path(folder) / name for name in ("kspace", "maps", "mask", "image"))
        sampled = data.mask.expand(-1, 1, *data.matrix).to(torch.complex64)
        csm = torch.ones(1, *data.matrix, dtype=torch.complex64) if data.csm is None else data.csm
        write_cfl(kspace, data.kspace)
        write_cfl(mask, sampled)
        write_cfl(maps, csm[None])
        usage = run(["bart", "pics", *weights.arguments, "-p", str(mask), str(kspace), str(maps), str(image)])
        return read_cfl(image)[:, 0], usage


def run(command: list[str]) -> Usage:
    """Run a command to its end."""
    launcher = Path(__file__).with_name("launch.py")
    done = subprocess.run([sys.executable, str(launcher), *command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Usage(**json.loads(done.stdout))


def write_cfl(path: Path, array: Tensor) -> None:
    """Write ``(frames, coils, y, x)``: in memory that is BART's order, x first."""
    frames, coils, y, x = array.shape
    sizes = [1] * N_DIMENSIONS
    sizes[0], sizes[1], sizes[COIL], sizes[TIME] = x, y, coils, frames
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, sizes)) + "\n", encoding="utf-8")
    array.contiguous().numpy().astype(np.complex64).tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> Tensor:
    """Read ``(frames, coils, y, x)``."""
    sizes = [int(size) for size in path.with_suffix(".hdr").read_text(encoding="utf-8").splitlines()[1].split()]
    sizes += [1] * (N_DIMENSIONS - len(sizes))
    array: NDArray[np.complex64] = np.fromfile(path.with_suffix(".cfl"), np.complex64)
    return torch.from_numpy(array.reshape(sizes[TIME], sizes[COIL], sizes[1], sizes[0]))
