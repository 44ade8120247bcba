"""Speed of the networks, and memory of a training step.

    python benchmarks/networks.py                    # all networks, 16 frames of 192 x 192
    python benchmarks/networks.py --model slrnet --part speed --device cuda

Speed: rate of multiplications and additions, counting those of the convolutions only, relative to the rate of a large
matrix product (sgemm), which is timed between the repeats. Memory: increase by one forward and backward pass, each in a
separate process, with and without checkpointing, with all coils at once or one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from math import prod

import torch
from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row
from torch import Tensor, nn

from cinerecon.machine import peak_memory_mb, process_memory_mb
from cinerecon.memory import keep_freed_memory
from cinerecon.networks import NETWORKS, build
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding

N_SGEMM = 2048
RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment in which freed arrays are returned to the system at once, so that the memory is that of the arrays."""


def make_case(size: list[int], coils: int, coils_at_once: int | None, device: str) -> tuple[Tensor, Encoding]:
    """K-space of a noise image, undersampled by random lines."""
    frames, y, x = size
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(1, frames, 1, y, 1, generator=generator) < 0.25).to(device)
    csm = torch.randn(1, coils, y, x, dtype=torch.complex64, generator=generator) / coils**0.5 if coils > 1 else None
    csm = None if csm is None else csm.to(device)
    image = torch.randn(1, frames, y, x, dtype=torch.complex64, generator=generator).to(device)
    kspace = Encoding(mask, csm, matrix=(y, x), coils_at_once=1).forward(image)
    return kspace, Encoding(mask, csm, matrix=(y, x), coils_at_once=coils_at_once)


def time_call(function: Callable[[], object], device: str) -> float:
    """Time of a call [s]."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def count_operations(net: nn.Module, kspace: Tensor, encoding: Encoding) -> int:
    """Multiplications and additions of all convolutions in one reconstruction."""
    total = 0

    def add(layer, _, output):
        nonlocal total
        total += 2 * output.numel() * layer.in_channels * prod(layer.kernel_size)

    hooks = [layer.register_forward_hook(add) for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)]
    net(kspace, encoding)
    for hook in hooks:
        hook.remove()
    return total


@torch.inference_mode()
def print_speed(names: Sequence[str], size: list[int], repeats: int, device: str) -> None:
    keep_freed_memory()
    left, right = (torch.randn(N_SGEMM, N_SGEMM, device=device) for _ in range(2))
    kspace, encoding = make_case(size, 1, None, device)
    heads = "network", "parameters", "convolutions [TFLOP]", "seconds", "[GFLOP/s]", "sgemm [GFLOP/s]", "share"
    print(markdown_head(heads))
    for name in names:
        net = build(name).to(device).eval()
        operations = count_operations(net, kspace, encoding)
        own, sgemm = [], []
        for _ in range(repeats):
            sgemm += [time_call(lambda: left @ right, device) for _ in range(5)]
            own.append(time_call(lambda net=net: net(kspace, encoding), device))
        sgemm += [time_call(lambda: left @ right, device) for _ in range(5)]
        rate, limit = operations / min(own) / 1e9, 2 * N_SGEMM**3 / min(sgemm) / 1e9
        numbers = f"{operations / 1e12:.3f}", f"{min(own):.2f}", f"{rate:.0f}", f"{limit:.0f}", f"{rate / limit:.0%}"
        print(markdown_row((name, f"{count_parameters(net):,}", *numbers)), flush=True)


def current_memory_mb(device: str) -> float:
    """Memory in use by the process or on the GPU, whose peak is reset [MB]."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    return process_memory_mb()


def memory_of_step(
    name: str, size: list[int], coils: int, checkpointing: bool, coils_at_once: int | None, device: str
) -> float:
    """Increase of memory by a forward and a backward pass [MB], after a tiny one that loads libraries."""
    net = build(name, checkpointing=checkpointing).to(device)
    for shape in ([2, 16, 16], size):
        kspace, encoding = make_case(shape, coils, coils_at_once, device)
        before = current_memory_mb(device)
        net(kspace, encoding).abs().square().mean().backward()
    return peak_memory_mb(device) - before


def print_memory(names: Sequence[str], size: list[int], device: str) -> None:
    cases = [(1, False, None), (1, True, None), (8, False, None), (8, True, None), (8, True, 1)]
    heads = ["network", "1 coil", "checkpointing", "8 coils", "checkpointing", "and coil by coil"]
    print(f"\nMemory of a training step [MB]\n\n{markdown_head(heads)}")
    for name in names:
        cells = []
        for coils, checkpointing, coils_at_once in cases:
            arguments = json.dumps([name, size, coils, checkpointing, coils_at_once, device])
            command = [sys.executable, __file__, "--step", arguments]
            run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **RETURN_AT_ONCE})
            cells.append(f"{float(run.stdout):.0f}" if run.returncode == 0 else "failed")
        print(markdown_row((name, *cells)), flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", action="append", choices=list(NETWORKS), help="default: all")
    parser.add_argument("--part", choices=["speed", "memory"], help="default: both")
    parser.add_argument("--size", type=positive, nargs=3, default=[16, 192, 192], metavar=("FRAMES", "Y", "X"))
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(memory_of_step(*json.loads(options.step)))
        return
    names = options.model or list(NETWORKS)
    if options.part != "memory":
        print_speed(names, options.size, options.repeats, options.device)
    if options.part != "speed":
        print_memory(names, options.size, options.device)


if __name__ == "__main__":
    run_benchmark(main)
