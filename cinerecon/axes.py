"""Names and order of the axes, checks that report them by name, and the centre of an axis, index n // 2."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import ShapeError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KSPACE = ("frames", "coils", "ky", "kx")
MASK = ("frames", "1", "ky", "kx")
CSM = ("coils", "y", "x")
IMAGE = ("frames", "y", "x")


def describe(array: "Tensor", axes: tuple[str, ...]) -> str:
    """Sizes of an array with the names of its axes: ``(frames 12, coils 10, ky 144, kx 192)``."""
    n_batch = array.ndim - len(axes)
    names = ("batch",) * max(n_batch, 0) + axes[max(-n_batch, 0) :]
    return "(" + ", ".join(f"{name} {size}" for name, size in zip(names, array.shape, strict=True)) + ")"


def describe_values(name: str, array: "Tensor | NDArray[Any]") -> str:
    """Name, sizes and type of an array: ``image (12, 144, 192) complex64``."""
    return f"{name} {tuple(array.shape)} {str(array.dtype).removeprefix('torch.')}"


def require_axes(name: str, array: "Tensor", axes: tuple[str, ...], dtype: "torch.dtype | None" = None) -> None:
    """Check that an array has at least the named axes, and the dtype if one is given.

    Raises
    ------
    ShapeError
        If it is no tensor, axes are missing or the dtype differs.
    """
    if not hasattr(array, "is_complex"):  # without importing PyTorch
        raise ShapeError(f"{name} is of type {type(array).__name__}, expected a tensor")
    if array.ndim < len(axes):
        raise ShapeError(f"{name} has {array.ndim} axes, expected at least ({', '.join(axes)})")
    if dtype is not None and array.dtype != dtype:
        raise ShapeError(f"{name} is {array.dtype}, expected {dtype}")


def require_last_sizes(
    name: str, array: "Tensor", axes: tuple[str, ...], sizes: Iterable[tuple[int, ...] | None]
) -> None:
    """Check that an array has the named axes as its last ones, each of an allowed size; None allows any.

    Raises
    ------
    ShapeError
        If axes are missing or a size differs, naming the axis and all sizes of the array.
    """
    require_axes(name, array, axes)
    for axis, size, allowed in zip(axes, array.shape[-len(axes) :], sizes, strict=True):
        if allowed is not None and size not in allowed:
            expected = " or ".join(map(str, dict.fromkeys(allowed)))
            raise ShapeError(
                f"axis {axis} of {name} has size {size}, expected {expected}     {name} {describe(array, axes)}"
            )


def centre_slice(n: int, size: int) -> slice:
    """The central `size` of n points, or all n if there are fewer; the centre n // 2 remains the centre."""
    size = min(size, n)
    first = n // 2 - size // 2
    return slice(first, first + size)


def mirrored_indices(n: int) -> NDArray[np.intp]:
    """The indices of a centred axis of n points after mirroring about its centre n // 2."""
    return (2 * (n // 2) - np.arange(n)) % n


def centre_crop(array: "Tensor", sizes: tuple[int, int]) -> "Tensor":
    """A view of the central part of the last two axes ``(..., y, x)``, of the given sizes, or all of it if smaller."""
    rows, columns = (centre_slice(n, size) for n, size in zip(array.shape[-2:], sizes, strict=True))
    return array[..., rows, columns]
