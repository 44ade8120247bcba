"""Checkpoints of small random networks in the formats of the published programs."""

from pathlib import Path

import numpy as np
import torch
from tf_writer import write_tf_checkpoint
from torch import nn

from cinerecon import networks
from cinerecon.methods.published import LAYOUTS, CheckpointLayout

BY_TITLE = {layout.title: layout for layout in LAYOUTS}
ARRAYS = "DC-CNN D5C5, frame by frame"


def small_network(layout: CheckpointLayout, seed: int = 0) -> nn.Module:
    """The network of a layout with few channels, and few cascades if these have different weights; random weights."""
    counts = {"n_channels": 4} | ({} if layout.network == "crnn" else {"n_cascades": 2})
    net = networks.build(layout.network, layout.architecture, **counts)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not name.endswith(tuple(layout.as_built)):
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net


def published_form(layout: CheckpointLayout, net: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a network with the names and axes of the program."""
    state, variables = net.state_dict(), {}
    iterations = [None] if layout.network == "crnn" else range(len(net.cascades))
    for n in iterations:
        for path, name in layout.cascade.items():
            key = name if n is None else f"cascades.{n}.{name}"
            if key in state:
                variables[_published_name(layout, n, path)] = _published_axes(layout, state[key])
    return variables


def _published_name(layout: CheckpointLayout, n: int | None, path: str) -> str:
    if layout.title == ARRAYS:
        return f"arr_{10 * n + int(path.removeprefix('arr_'))}"
    if layout.program.kernels == "frames y x in out":
        return f"celllist/{n}/{path}"
    return path if n is None else f"conv_blocks.{n}.{path}"


def _published_axes(layout: CheckpointLayout, tensor: torch.Tensor) -> np.ndarray:
    if layout.program.kernels == "frames y x in out":
        orders = {5: (2, 3, 4, 1, 0), 2: (1, 0)}
    else:
        orders = {5: (0, 1, 3, 4, 2)}
    array = tensor.numpy()
    return np.ascontiguousarray(array.transpose(orders[array.ndim])) if array.ndim in orders else array.copy()


def write_published(folder: Path, layout: CheckpointLayout, net: nn.Module) -> Path:
    """Write a checkpoint like the program, and return the path to import."""
    variables = published_form(layout, net)
    folder.mkdir(parents=True, exist_ok=True)
    if layout.title == ARRAYS:
        np.savez(folder / "weights.npz", **variables)
        return folder / "weights.npz"
    if layout.program.kernels == "frames y x in out":
        write_tf_checkpoint(folder / "weight-best", variables)
        return folder
    torch.save({name: torch.from_numpy(value) for name, value in variables.items()}, folder / "weights.pth")
    return folder / "weights.pth"
