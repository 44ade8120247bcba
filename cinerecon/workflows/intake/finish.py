"""The last steps on every road to `CineData`: fewer coils, coil maps, and the truth in their units."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from cinerecon.data.cine import CineData, CineMeta
from cinerecon.errors import UnsupportedError
from cinerecon.physics.coils import (
    apply_coil_matrix,
    apply_geometric_compression,
    compression_matrix,
    estimate_csm,
    geometric_compression_matrices,
)
from cinerecon.physics.operators import Encoding
from cinerecon.workflows.intake.config import IntakeConfig

ReadTruth = Callable[[CineData, Tensor | None], Tensor | None]
"""Given the slice and what its coils were mixed by, the truth ``(frames, y, x)`` where there is one."""


def finish_slice(
    kspace: Tensor,
    mask: Tensor,
    meta: CineMeta,
    config: IntakeConfig,
    *,
    mixing: Tensor | None = None,
    read_truth: ReadTruth | None = None,
    truth_is: str = "truth",
    seconds: dict[str, float] | None = None,
) -> CineData:
    """Compress the coils, estimate their maps, and find the reference.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)`` on the image's grid.
    mask
        ``(frames, 1, ky, kx or 1)`` bool.
    meta
        Source, slice, geometry.
    config
        How many coils, and which maps.
    mixing
        ``(coils, coils)`` what the coils were multiplied by so far; None for nothing.
    read_truth
        Where a truth may come from besides the data; a fully sampled slice is its own.
    truth_is
        What that truth is, one of `REFERENCES`.
    seconds
        If given, the time that the coil maps took is noted here under ``maps``.

    Raises
    ------
    UnsupportedError
        If coils of readouts with gaps are to be compressed for each position along them.
    """
    kspace, mixing = _compress(kspace, mask, config, mixing, f"{meta.source}, slice {meta.slice}")
    start = perf_counter()
    csm = estimate_csm(kspace, mask, config.csm)
    if seconds is not None:
        seconds["maps"] = perf_counter() - start
    data = CineData(kspace=kspace, mask=mask, csm=csm, meta=meta)
    reference = None if read_truth is None else read_truth(data, mixing)
    if reference is None and block_of_lines(mask) is not None:
        reference = Encoding(mask, csm, matrix=data.matrix).adjoint(kspace)
        truth_is = "all samples" if bool(mask.all()) else "some samples"
    meta = replace(meta, reference_is="" if reference is None else truth_is)
    return replace(data, reference=reference, shading=shading_of(csm, mixing), meta=meta)


def _compress(
    kspace: Tensor, mask: Tensor, config: IntakeConfig, mixing: Tensor | None, where: str
) -> tuple[Tensor, Tensor | None]:
    """K-space of the virtual coils, and all that the coils were mixed by."""
    n_virtual = config.n_virtual_coils
    if n_virtual is None or n_virtual >= kspace.shape[-3]:
        return kspace, mixing
    if config.compression == "geometric":
        if mask.shape[-1] != 1:
            what = "coils cannot be compressed for each position along readouts that were not measured whole"
            raise UnsupportedError(what, where=where, hint="take compression=pca")
        matrices = geometric_compression_matrices(kspace, n_virtual)
    else:
        matrices = compression_matrix(kspace, n_virtual)
    return mix_coils(matrices, kspace), matrices if mixing is None else matrices @ mixing


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


def shading_of(csm: Tensor | None, mixing: Tensor | None) -> Tensor | None:
    """What brings an image of mixed coils back to the sum of squares of the coils as they were measured, ``(y, x)``.

    Whitened maps are W c / ||W c||, so that A^H y is ||W c|| times the image; undone, W^-1 has the norm 1 / ||W c||.

    Parameters
    ----------
    csm
        ``(virtual coils, y, x)`` maps of the mixed coils.
    mixing
        The product of whitening and compression, as `mix_maps` takes it.
    """
    if csm is None or mixing is None:
        return None
    return torch.linalg.vector_norm(mix_maps(torch.linalg.pinv(mixing), csm), dim=0)


def block_of_lines(mask: Tensor) -> tuple[int, int] | None:
    """First and last row of a fully sampled scan; None if it is undersampled.

    Fully sampled means that all frames measure the same block of neighbouring lines around the centre, over at least
    half of the grid: phase resolution below 100 % and partial Fourier measure fewer lines, but leave none out.

    Parameters
    ----------
    mask
        ``(frames, 1, ky, kx or 1)``
    """
    if not bool((mask == mask[:1]).all()):
        return None
    sampled = mask[0, 0]
    rows = sampled.any(-1)
    if not bool((sampled == (rows[:, None] & sampled.any(-2))).all()):
        return None
    found = rows.nonzero().ravel().tolist()
    first, last = found[0], found[-1]
    whole = last - first + 1 == len(found) and first <= len(rows) // 2 <= last
    return (first, last) if whole and 2 * len(found) >= len(rows) else None
