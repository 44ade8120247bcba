"""Time of a training step in float32 and bfloat16, on one thread.

    python benchmarks/steps.py

A step is the forward and backward pass for one strip of 16 x 192 x 32 voxels, Gaussian 8x, one coil. Times are CPU
times of the fastest of several steps, so that other processes have little effect.
"""

import time

import torch
from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row
from torch import nn

from cinerecon import networks
from cinerecon.memory import keep_freed_memory
from cinerecon.networks import bfloat16
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask

STRIP = (16, 192, 32)
NETWORKS = {
    "slrnet": {"n_cascades": 5, "n_channels": 32},
    "dccnn": {"n_cascades": 5, "n_channels": 32},
    "passnet": {"n_cascades": 5},
    "stvarnet": {},
}
"""Architectures with a step of about a second; other settings have their defaults."""


def seconds_per_step(net: nn.Module, *, half: bool, n: int) -> float:
    """CPU time of the fastest of n steps [s]."""
    frames, y, x = STRIP
    mask = torch.from_numpy(parse_mask("gaussian:8").draw(frames, y, x, seed=0))[None]
    encoding = Encoding(mask, torch.ones(1, 1, y, x, dtype=torch.complex64))
    target = torch.randn(1, *STRIP, dtype=torch.complex64)
    kspace, times = encoding.forward(target), []
    for _ in range(n):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            image = net(kspace, encoding)
        (image - target).abs().square().mean().backward()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=positive, default=4, help="number of steps, of which the fastest counts")
    n = parser.parse_args().repeats
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"bfloat16 is {'native' if bfloat16.is_native() else 'emulated'} on this processor\n")
    print(markdown_head(("network", "parameters", "float32 [s]", "bfloat16 [s]", "ratio")))
    for name, settings in NETWORKS.items():
        torch.manual_seed(0)
        net = networks.build(name, settings)
        single, half = (seconds_per_step(net, half=is_half, n=n) for is_half in (False, True))
        numbers = f"{single:.2f}", f"{half:.2f}", f"{single / half:.1f}"
        print(markdown_row((name, f"{count_parameters(net):,}", *numbers)), flush=True)


if __name__ == "__main__":
    run_benchmark(main)
