"""One method on one case, in a separate process: the image, with time and memory."""

import resource
import time
from pathlib import Path

import torch
from torch import Tensor
from usage import Usage

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.machine import process_memory_mb
from cinerecon.methods.base import make_encoding
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.lowrank import Schatten, shrink_casorati, shrink_patches


def work(name: str, case: str, image_file: str, settings: list[str]) -> Usage:
    """Reconstruct a case with a method, and save the image."""
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
    """Lower limit of the time of k-t SLR [s]: one pair of Fourier transforms and one shrinkage in each iteration.

    With several coils the pair is A^H A, once for each conjugate gradient step.
    """
    size, rule = getattr(config, "block_size", 0), Schatten(1e-3, 0.5)
    encoding, n_cg = make_encoding(data), getattr(config, "n_cg_iterations", 1)

    def step() -> None:
        if data.csm is None:
            ifft2c(fft2c(image))
        else:
            for _ in range(n_cg):
                encoding.normal(image)
        shrink_patches(image, rule, size, (3, 5)) if size else shrink_casorati(image, rule)

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return n_iterations * min(seconds)
