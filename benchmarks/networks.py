"""How fast the networks are, and how much memory a training step takes.

    python benchmarks/networks.py                    # all networks, 16 frames of 192 x 192
    python benchmarks/networks.py --model slrnet --part speed --device cuda

Speed: the share of the machine's measured sgemm rate that inference reaches, counting the multiplications and additions
of the convolutions alone; sgemm is timed between the repeats. Memory: what one forward and backward pass adds to the
process, each in a process of its own, with and without checkpointing, all coils at once or one after the other.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from cinerecon.machine import peak_memory_mb
from cinerecon.memory import keep_freed_memory
from cinerecon.networks import NETWORKS, build
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding

N_SGEMM = 2048
RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Freed arrays go back to the system, so that the process holds what the arrays take, without holes between them."""


def make_case(size: list[int], coils: int, coils_at_once: int | None, device: str) -> tuple[Tensor, Encoding]:
    """K-space of noise under a mask of random lines."""
    frames, y, x = size
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(1, frames, 1, y, 1, generator=generator) < 0.25).to(device)
    csm = torch.randn(1, coils, y, x, dtype=torch.complex64, generator=generator) / coils**0.5 if coils > 1 else None
    csm = None if csm is None else csm.to(device)
    image = torch.randn(1, frames, y, x, dtype=torch.complex64, generator=generator).to(device)
    kspace = Encoding(mask, csm, matrix=(y, x), coils_at_once=1).forward(image)
    return kspace, Encoding(mask, csm, matrix=(y, x), coils_at_once=coils_at_once)


def seconds(function, device: str) -> float:
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
def show_speed(names: list[str], size: list[int], repeats: int, device: str) -> None:
    keep_freed_memory()
    left, right = (torch.randn(N_SGEMM, N_SGEMM, device=device) for _ in range(2))
    kspace, encoding = make_case(size, 1, None, device)
    print("| network | parameters | convolutions [TFLOP] | seconds | [GFLOP/s] | sgemm [GFLOP/s] | share |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        net = build(name).to(device).eval()
        operations = count_operations(net, kspace, encoding)
        own, sgemm = [], []
        for _ in range(repeats):
            sgemm += [seconds(lambda: left @ right, device) for _ in range(5)]
            own.append(seconds(lambda net=net: net(kspace, encoding), device))
        sgemm += [seconds(lambda: left @ right, device) for _ in range(5)]
        rate, limit = operations / min(own) / 1e9, 2 * N_SGEMM**3 / min(sgemm) / 1e9
        parameters = count_parameters(net)
        print(
            f"| {name} | {parameters:,} | {operations / 1e12:.3f} | {min(own):.2f} | {rate:.0f} | {limit:.0f} "
            f"| {rate / limit:.0%} |",
            flush=True,
        )


def held_mb(device: str) -> float:
    """Memory held at present [MB]; of the process on Linux."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize() / 2**20


def train_step(name: str, size: list[int], coils: int, checkpointing: bool, at_once: int | None, device: str) -> float:
    """Memory that a forward and a backward pass add [MB]; a tiny one before loads what is loaded but once."""
    net = build(name, checkpointing=checkpointing).to(device)
    for shape in ([2, 16, 16], size):
        kspace, encoding = make_case(shape, coils, at_once, device)
        before = held_mb(device)
        net(kspace, encoding).abs().square().mean().backward()
    return peak_memory_mb(device) - before


def show_memory(names: list[str], size: list[int], device: str) -> None:
    cases = [(1, False, None), (1, True, None), (8, False, None), (8, True, None), (8, True, 1)]
    heads = ["1 coil", "checkpointing", "8 coils", "checkpointing", "and coil by coil"]
    print("\nMemory of a training step [MB]\n\n| network | " + " | ".join(heads) + " |")
    print("|---" * (1 + len(cases)) + "|")
    for name in names:
        row = []
        for coils, checkpointing, at_once in cases:
            arguments = json.dumps([name, size, coils, checkpointing, at_once, device])
            command = [sys.executable, __file__, "--step", arguments]
            run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **RETURN_AT_ONCE})
            row.append(f"{float(run.stdout):.0f}" if run.returncode == 0 else "failed")
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(NETWORKS), help="default: all")
    parser.add_argument("--part", choices=["speed", "memory"], help="default: both")
    parser.add_argument("--size", type=int, nargs=3, default=[16, 192, 192], metavar=("FRAMES", "Y", "X"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(train_step(*json.loads(options.step)))
        return
    names = options.model or list(NETWORKS)
    if options.part != "memory":
        show_speed(names, options.size, options.repeats, options.device)
    if options.part != "speed":
        show_memory(names, options.size, options.device)


if __name__ == "__main__":
    main()
