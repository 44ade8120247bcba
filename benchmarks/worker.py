"""One method on one case, in a process of its own: the image, and what it took."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.machine import process_memory_mb
from cinerecon.methods.base import make_encoding
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.lowrank import Schatten, shrink_casorati, shrink_patches


@dataclass(frozen=True)
class Usage:
    """What a run took.

    Attributes
    ----------
    wall_s, cpu_s
        Wall time, and processor time of all threads together [s].
    memory_mb
        Peak memory of the process [MB].
    minimum_s
        Time that the Fourier transforms and the shrinkage of singular values alone take [s]; 0 where not asked for.
    n_iterations
        Iterations; 0 for methods without.
    """

    wall_s: float
    cpu_s: float
    memory_mb: float
    minimum_s: float = 0.0
    n_iterations: int = 0


def work(name: str, case: str, image_file: str, settings: list[str]) -> Usage:
    """Reconstruct the case with a method and save the image."""
    data = CineData(**torch.load(case))
    method = load_method(name, settings)
    steps: list[int] = []
    start, cpu = time.perf_counter(), cpu_seconds()
    image = method(data, lambda done, _: steps.append(done))
    wall_s, cpu_s = time.perf_counter() - start, cpu_seconds() - cpu
    memory_mb = process_memory_mb("VmHWM")
    torch.save(image, Path(image_file))
    n_iterations = len(steps) - 1  # the last call reports the end
    minimum_s = minimum_seconds(data, image, method.config, n_iterations) if name == "ktslr" else 0.0
    return Usage(wall_s, cpu_s, memory_mb, minimum_s, n_iterations)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def minimum_seconds(data: CineData, image: Tensor, config: Config, n_iterations: int) -> float:
    """What k-t SLR cannot do without: in each iteration one pair of transforms and one shrinkage.

    With several coils the pair is A^H A, once for each of its conjugate gradient steps.
    """
    size, rule = getattr(config, "block_size", 0), Schatten(1e-3, 0.5)
    encoding, n_normal = make_encoding(data), getattr(config, "n_cg_iterations", 1)

    def step() -> None:
        if data.csm is None:
            ifft2c(fft2c(image))
        else:
            for _ in range(n_normal):
                encoding.normal(image)
        shrink_patches(image, rule, size, (3, 5)) if size else shrink_casorati(image, rule)

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return n_iterations * min(seconds)
