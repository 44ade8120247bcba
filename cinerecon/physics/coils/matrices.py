"""Mixed coils: k-space, maps and shading after whitening and compression."""

import torch
from torch import Tensor

from cinerecon.physics.coils.compression import apply_geometric_compression
from cinerecon.physics.coils.whitening import apply_coil_matrix


def mix_coils(mixing: Tensor, kspace: Tensor) -> Tensor:
    """K-space ``(..., coils, ky, kx)`` of mixed coils, ``(..., virtual coils, ky, kx)``; matrices as for `mix_maps`."""
    if mixing.ndim == 2:
        return apply_coil_matrix(mixing, kspace, -3)
    return apply_geometric_compression(mixing, kspace)


def mix_maps(mixing: Tensor, maps: Tensor) -> Tensor:
    """Maps of mixed coils, ``(virtual coils, y, x)``.

    Parameters
    ----------
    mixing
        ``(virtual coils, coils)``, or ``(x, virtual coils, coils)`` where it varies along the readout.
    maps
        ``(coils, y, x)``
    """
    return torch.einsum("vc,cyx->vyx" if mixing.ndim == 2 else "xvc,cyx->vyx", mixing, maps)


def shading_of(csm: Tensor | None, mixing: Tensor | None, matrix: tuple[int, int]) -> Tensor | None:
    """What brings an image of mixed coils back to the sum of squares of the coils as they were measured, ``(y, x)``.

    Whitened maps are W c / ||W c||, so that A^H y is ||W c|| times the image; undone, W^-1 has the norm 1 / ||W c||.

    Parameters
    ----------
    csm
        ``(virtual coils, y, x)`` maps of the mixed coils; None for one coil.
    mixing
        The product of whitening and compression, as `mix_maps` takes it.
    matrix
        Size (y, x) of the image.
    """
    if mixing is None:
        return None
    if csm is None:
        csm = torch.ones(1, *matrix, dtype=mixing.dtype)
    return torch.linalg.vector_norm(mix_maps(torch.linalg.pinv(mixing), csm), dim=0)
