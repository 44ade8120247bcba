"""Initial weights of the last training stage of PASSNet, from trained weights of JotlasNet and PASSNet.

    python models/passnet_from_jotlasnet.py jotlasnet.safetensors passnet.safetensors initial.safetensors
    cinerecon train models/passnet/model.yaml -o runs/passnet --series FOLDER --weights initial.safetensors

Both networks have the same low-rank and sparse branches. The step sizes, transforms and attention are those of
JotlasNet; its momentum, which PASSNet does not have, is approximated by scaling the last convolution of each branch.
The networks for shrinkage and fusion are those of PASSNet, but their last convolutions are zero: initially, no singular
value is shrunk, and the fused image is the mean of both branches, as in JotlasNet. Thresholds of features are half of
those of JotlasNet, which doubles them because each branch has a weight of one half.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from cinerecon.methods.model_file import read_model, write_model

SHARED = (".analysis.", ".synthesis.", ".attention.")
LAST_OF_BRANCH = "synthesis.4.weight"
LAST_OF_PASSNET = ("position_aware.mix.weight", "fusion.tail.0.weight")


def combine(jotlasnet: dict[str, Tensor], passnet: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a PASSNet by name, from those of two networks with the same cascades and channels."""
    combined = dict(passnet)
    for name in passnet:
        if name.endswith(LAST_OF_PASSNET):
            combined[name] = torch.zeros_like(passnet[name])
        elif name.endswith(".step") or any(part in name for part in SHARED):
            combined[name] = jotlasnet[name].clone()
        if name.endswith(LAST_OF_BRANCH):
            cascade = name.partition("lowrank.")[0].partition("sparse.")[0]
            combined[name] *= 1 + torch.sigmoid(jotlasnet[f"{cascade}momentum"])
    return combined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jotlasnet", type=Path)
    parser.add_argument("passnet", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    config, _ = read_model(arguments.passnet)
    write_model(arguments.output, combine(load_file(arguments.jotlasnet), load_file(arguments.passnet)), config)


if __name__ == "__main__":
    main()
