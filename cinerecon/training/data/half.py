"""Arrays in half precision, for files: a quarter of the size, rounded 66 dB below each value."""

import torch
from torch import Tensor


def to_half(array: Tensor) -> Tensor:
    """A real or complex array as float16; complex values become pairs of numbers, ``(..., 2)``."""
    return (torch.view_as_real(array) if array.is_complex() else array).half().contiguous()


def complex_of(pairs: Tensor) -> Tensor:
    """The complex64 array of pairs of numbers ``(..., 2)``."""
    return torch.view_as_complex(pairs.float().contiguous())
