"""Reconstruct a cine by BART's `pics`, if the program `bart` is installed.

BART receives the same data, whose image has a peak of 1 (`-w 1`), and the same coil maps; for one coil, a map of ones.
The weights are those of `bart_weights.yaml`, which `classical.py --tune` writes.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from usage import Usage, run_measured

from cinerecon.cine import CineData

N_DIMENSIONS = 16
COIL, TIME = 3, 10
SPACE_FLAGS, TIME_FLAGS = 0b11, 1 << TIME
WEIGHTS_FILE = Path(__file__).with_name("bart_weights.yaml")
HEADER = "# BART's weights for images of peak 1, searched in factors of 2 by `benchmarks/classical.py --tune`\n"


@dataclass(frozen=True)
class Weights:
    """Regularisation of one run; a term of weight 0 is omitted.

    Attributes
    ----------
    low_rank
        Weight of the locally low-rank penalty, in blocks of 16 x 16 pixels.
    time, space
        Weights of the total variation in time and in space.
    rho
        Penalty parameter of ADMM.
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
    """Tuned weights, for one coil or for several."""
    stored = yaml.safe_load(WEIGHTS_FILE.read_text(encoding="utf-8"))[_group(n_coils)][method]
    return Weights(**{name: value for name, value in stored.items() if name != "tuned_on"})


def write_weights(method: str, n_coils: int, weights: Weights, tuned_on: str) -> None:
    """Replace the stored weights."""
    stored = yaml.safe_load(WEIGHTS_FILE.read_text(encoding="utf-8"))
    stored[_group(n_coils)][method] = {k: v for k, v in asdict(weights).items() if v} | {"tuned_on": tuned_on}
    WEIGHTS_FILE.write_text(HEADER + yaml.safe_dump(stored, sort_keys=False), encoding="utf-8")


def _group(n_coils: int) -> str:
    return "one coil" if n_coils == 1 else "several coils"


def search(start: Weights, score_of: Callable[[Weights], float], factor: float = 2.0) -> tuple[Weights, float]:
    """Coordinate search for the weights of highest score, in steps of a factor, until no weight improves it."""
    best, best_score = start, score_of(start)
    names = [name for name, value in asdict(start).items() if value]
    tried, since_gain = {start}, 0
    while since_gain < len(names):
        name = names[0]
        names = [*names[1:], name]
        since_gain += 1
        for step in (factor, 1 / factor):
            while (candidate := replace(best, **{name: getattr(best, name) * step})) not in tried:
                tried.add(candidate)
                score = score_of(candidate)
                if score <= best_score:
                    break
                best, best_score, since_gain = candidate, score, 0
    return best, best_score


def is_installed() -> bool:
    return shutil.which("bart") is not None


def version() -> str:
    return subprocess.run(["bart", "version"], capture_output=True, text=True, check=True).stdout.strip()


def reconstruct(data: CineData, weights: Weights) -> tuple[Tensor, Usage]:
    """The image ``(frames, y, x)`` of a cine without batch axes, with time and memory of the run."""
    with tempfile.TemporaryDirectory() as folder:
        kspace, maps, mask, image = (Path(folder) / name for name in ("kspace", "maps", "mask", "image"))
        sampled = data.mask.expand(-1, 1, *data.matrix).to(torch.complex64)
        csm = torch.ones(1, *data.matrix, dtype=torch.complex64) if data.csm is None else data.csm
        write_cfl(kspace, data.kspace)
        write_cfl(mask, sampled)
        write_cfl(maps, csm[None])
        usage = run_measured(["bart", "pics", *weights.arguments, "-p", str(mask), str(kspace), str(maps), str(image)])
        return read_cfl(image)[:, 0], usage


def write_cfl(path: Path, array: Tensor) -> None:
    """Write ``(frames, coils, y, x)``; BART's order, with x varying fastest, is the same in memory."""
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
