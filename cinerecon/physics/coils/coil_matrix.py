"""Mix coils by a matrix, e.g. for whitening or compression."""

import torch
from torch import Tensor


def apply_coil_matrix(matrix: Tensor, data: Tensor, dim: int) -> Tensor:
    """Mix coils: multiply the coil axis of an array by a matrix.

    Parameters
    ----------
    matrix
        ``(n_out, coils)``, e.g. for whitening or compression.
    data
        Any array with a coil axis.
    dim
        The coil axis.
    """
    mixed: Tensor = torch.tensordot(matrix.to(data), data, dims=([1], [dim])).movedim(0, dim)
    return mixed
