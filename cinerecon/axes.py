"""The names and the order of the axes, and the one check that speaks of them by name."""

import torch
from torch import Tensor

from cinerecon.errors import ShapeError

KSPACE = ("frames", "coils", "ky", "kx")
MASK = ("frames", "1", "ky", "kx")
CSM = ("coils", "y", "x")
IMAGE = ("frames", "y", "x")


def describe(array: Tensor, axes: tuple[str, ...]) -> str:
    """Say the sizes of an array by the names of its axes: ``(frames 12, coils 10, ky 144, kx 192)``."""
    n_batch = array.ndim - len(axes)
    names = ("batch",) * max(n_batch, 0) + axes[max(-n_batch, 0) :]
    return "(" + ", ".join(f"{name} {size}" for name, size in zip(names, array.shape, strict=True)) + ")"


def require_axes(name: str, array: Tensor, axes: tuple[str, ...], dtype: torch.dtype | None = None) -> None:
    """Check that an array has at least the named axes, and the dtype where one is given.

    Raises
    ------
    ShapeError
        If axes are missing or the dtype differs.
    """
    if array.ndim < len(axes):
        raise ShapeError(f"{name} has {array.ndim} axes, expected at least ({', '.join(axes)})")
    if dtype is not None and array.dtype != dtype:
        raise ShapeError(f"{name} is {array.dtype}, expected {dtype}")
