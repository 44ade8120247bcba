"""Time of a training step, by network and precision, on one thread.

    python benchmarks/steps.py

A step is the forward and backward pass of one strip of 16 x 192 x 32 voxels, Gaussian 8x, one coil. Times are CPU time,
the best of several, so that other processes disturb them little.
"""

import argparse
import time

import torch
from torch import nn

from cinerecon import networks
from cinerecon.memory import keep_freed_memory
from cinerecon.networks import bfloat16
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask

STRIP = (16, 192, 32)
NETWORKS = {
    "slrnet": {"n_cascades": 5, "n_channels": 32},
    "dccnn": {"n_cascades": 5, "n_channels": 32},
    "passnet": {"n_cascades": 5},
    "stvarnet": {},
}
"""Sizes that a step of a second or so allows; what is left out is at its default."""


def seconds_per_step(net: nn.Module, *, half: bool, n: int) -> float:
    """The least CPU time of a step [s]."""
    frames, y, x = STRIP
    mask = torch.from_numpy(parse_mask("gaussian:8").draw(frames, y, x, seed=0))[None]
    encoding = Encoding(mask, torch.ones(1, 1, y, x, dtype=torch.complex64))
    target = torch.randn(1, *STRIP, dtype=torch.complex64)
    kspace, times = encoding.forward(target), []
    for _ in range(n):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            image = net(kspace, encoding)
        (image - target).abs().square().mean().backward()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="steps of which the fastest counts")
    n = parser.parse_args().repeats
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"bfloat16 is {'native' if bfloat16.is_native() else 'emulated'} on this processor\n")
    print("| network | numbers | float32 [s] | bfloat16 [s] | ratio |\n|---|---|---|---|---|")
    for name, settings in NETWORKS.items():
        torch.manual_seed(0)
        net = networks.build(name, settings)
        single, half = (seconds_per_step(net, half=is_half, n=n) for is_half in (False, True))
        numbers = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
        print(f"| {name} | {numbers:,} | {single:.2f} | {half:.2f} | {single / half:.1f} |", flush=True)


if __name__ == "__main__":
    main()
