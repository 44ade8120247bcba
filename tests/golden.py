"""The outputs of the authors' programs, their inputs and the published weights, where they lie beside the project."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cinerecon.data.tf_checkpoint import read_tf_checkpoint
from cinerecon.networks.blocks import ConvStack
from cinerecon.physics.operators import Encoding

GOLDEN = Path("../shared/golden")
WEIGHTS = Path("../shared/weights")


def golden(name: str) -> Mapping[str, np.ndarray]:
    """Arrays of one case; skips the test where they are missing."""
    path = GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip("the authors' outputs are not here")
    return np.load(path)


def golden_input(coils: str) -> tuple[Tensor, Encoding]:
    """K-space and encoding of the cases that end in ``sc`` (one coil) or ``mc`` (several)."""
    inputs, prefix = golden("inputs"), "mc_" if coils == "mc" else ""
    mask = torch.from_numpy(inputs[f"{prefix}mask"].astype(bool))[None, :, None]
    kspace = torch.from_numpy(inputs[f"{prefix}kspace"])
    if coils == "mc":
        return kspace.transpose(1, 2), Encoding(mask, torch.from_numpy(inputs["csm"])[:, :, 0])
    return kspace[:, :, None], Encoding(mask)


def published(name: str) -> dict[str, np.ndarray]:
    """Variables of a published TensorFlow checkpoint, ``folder/prefix``; skips the test where it is missing."""
    if not (WEIGHTS / name).parent.exists():
        pytest.skip("the published weights are not here")
    return read_tf_checkpoint(WEIGHTS / name)


@torch.no_grad()
def copy_kernels(stack: ConvStack, kernels: Iterable[np.ndarray]) -> None:
    """Fill a stack with TensorFlow kernels ``(frames, y, x, in, out)``."""
    for convolution, kernel in zip(stack.convolutions, kernels, strict=True):
        convolution.weight.copy_(torch.tensor(kernel).permute(4, 3, 0, 1, 2))
