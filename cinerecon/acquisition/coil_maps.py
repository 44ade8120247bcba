"""The last steps on every road to `CineData`: fewer coils, coil maps, and the truth in their units."""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from torch import Tensor

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.cine import CineData, CineMeta
from cinerecon.errors import UnsupportedError
from cinerecon.physics.coils import (
    compression_matrix,
    doubt_of_maps,
    estimate_csm,
    geometric_compression_matrices,
    mix_coils,
    shading_of,
)
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines

ReadTruth = Callable[[CineData, Tensor | None], Tensor | None]
"""Given the slice and what its coils were mixed by, the truth ``(frames, y, x)`` where there is one."""


def finish_slice(
    kspace: Tensor,
    mask: Tensor,
    meta: CineMeta,
    config: AcquisitionConfig,
    *,
    mixing: Tensor | None = None,
    calibration: tuple[Tensor, Tensor] | None = None,
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
    calibration
        K-space ``(1, coils, ky, kx)`` that the maps come from, and its mask; None takes the slice itself.
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
    matrices = _compression(kspace, mask, config, f"{meta.source}, slice {meta.slice}")
    source, source_mask = calibration or (kspace, mask)
    if matrices is not None:
        kspace, source = mix_coils(matrices, kspace), mix_coils(matrices, source)
        mixing = matrices if mixing is None else matrices @ mixing
    start = perf_counter()
    csm = estimate_csm(source, source_mask, config.csm)
    doubt = doubt_of_maps(source_mask, kspace.shape[-1])
    if csm is not None and block_of_lines(mask) is None and doubt and doubt not in meta.warnings:
        meta = replace(meta, warnings=(*meta.warnings, doubt))
    if seconds is not None:
        seconds["maps"] = perf_counter() - start
    data = CineData(kspace=kspace, mask=mask, csm=csm, meta=meta)
    reference = None if read_truth is None else read_truth(data, mixing)
    if reference is None and block_of_lines(mask) is not None:
        reference = Encoding(mask, csm, matrix=data.matrix, coils_at_once=1).adjoint(kspace)  # on a CPU: saves memory
        truth_is = "all samples" if bool(mask.all()) else "some samples"
    meta = replace(meta, reference_is="" if reference is None else truth_is)
    return replace(data, reference=reference, shading=shading_of(csm, mixing, data.matrix), meta=meta)


def _compression(kspace: Tensor, mask: Tensor, config: AcquisitionConfig, where: str) -> Tensor | None:
    """What makes virtual coils of the coils, as `mix_coils` takes it; None where there are not too many."""
    n_virtual = config.n_virtual_coils
    if n_virtual is None or n_virtual >= kspace.shape[-3]:
        return None
    if config.compression == "geometric":
        if mask.shape[-1] != 1:
            what = "coils cannot be compressed for each position along readouts that were not measured whole"
            raise UnsupportedError(what, where=where, hint="take compression=pca")
        return geometric_compression_matrices(kspace, n_virtual)
    return compression_matrix(kspace, n_virtual)
