"""Coil compression and coil sensitivity maps, the last processing steps of k-space of every file format."""

from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from cinerecon.acquisition.checks.given_maps import given_maps_warnings
from cinerecon.acquisition.config import AcquisitionConfig, describe_kept_coils
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import UnsupportedError
from cinerecon.physics.coils import (
    CoilStatistics,
    Compression,
    coil_shading,
    estimate_csm,
    transform_coils,
    transform_maps,
)
from cinerecon.physics.final_image import resample_maps
from cinerecon.physics.sampling import block_of_lines, csm_warning

NORM_TOLERANCE = 1e-3
"""Deviation of the sum of squared coil maps from 1 above which the maps are normalised."""


class GriddedSlice(NamedTuple):
    """K-space of one slice on the grid of the image, before its coils are compressed.

    Attributes
    ----------
    kspace
        ``(frames, coils, ky, x)`` complex64.
    mask
        ``(frames, 1, ky, x or 1)`` bool.
    n_averages
        ``(frames, 1, ky, x or 1)`` float, number of times that each sample was measured; for a weighted mean, the
        number of averages with the same noise variance. None if each sample was measured once.
    warnings
        Warnings about the lines of the slice.
    interpolated_matrix
        See `CineMeta`.
    """

    kspace: Tensor
    mask: Tensor
    n_averages: Tensor | None = None
    warnings: tuple[str, ...] = ()
    interpolated_matrix: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class FinishedSlice:
    """A slice with coil maps.

    Attributes
    ----------
    data
        K-space, mask, maps, shading and metadata.
    coil_matrix
        Product of whitening and compression, for `transform_maps`; None for the measured coils.
    csm_seconds
        Duration of the estimation of the maps [s].
    encoded
        The velocity-encoded set of a phase-contrast scan, with the same maps; None for other scans.
    """

    data: CineData
    coil_matrix: Tensor | None = None
    csm_seconds: float = 0.0
    encoded: CineData | None = None


def finish_slice(
    part: GriddedSlice,
    meta: CineMeta,
    config: AcquisitionConfig,
    *,
    coil_matrix: Tensor | None = None,
    whitening: Tensor | None = None,
    calibration: GriddedSlice | None = None,
    csm: Tensor | None = None,
) -> FinishedSlice:
    """Compress the coils and estimate their sensitivity maps, unless maps are provided.

    Parameters
    ----------
    part
        The slice.
    meta
        Metadata: source, slice, geometry.
    config
        Settings for coil compression and the estimation of coil maps.
    coil_matrix
        ``(coils, measured coils)`` transform that has been applied to k-space; None for the identity.
    whitening
        The part of this transform without coil compression; None for the identity.
    calibration
        K-space of one frame from which the maps are estimated; None to use the slice itself.
    csm
        ``(coils, y, x)`` maps of the coils of the slice, possibly of the zero-filled matrix; None to estimate them.

    Raises
    ------
    UnsupportedError
        If geometric compression is requested but readouts were not measured completely.
    """
    kspace, mask = part.kspace, part.mask
    compression, text = _compression(kspace, mask, config, meta.where)
    meta = replace(meta, compression=text or meta.compression, interpolated_matrix=part.interpolated_matrix)
    if csm is not None and csm.shape[-2:] != kspace.shape[-2:]:
        csm = scale_maps(resample_maps(csm, (kspace.shape[-2], kspace.shape[-1])))
    source, source_mask, *_ = calibration or part
    if compression is not None:
        kspace, source = transform_coils(compression, kspace), transform_coils(compression, source)
        coil_matrix = compression if coil_matrix is None else compression @ coil_matrix
    start = perf_counter()
    if csm is None:
        csm = estimate_csm(source, source_mask, config.csm)
        warning = csm_warning(source_mask, kspace.shape[-1]) if block_of_lines(mask) is None else None
        warnings = [warning] if warning else []
    else:
        csm = csm if compression is None else scale_maps(transform_maps(compression, csm))
        warnings = [*given_maps_warnings(csm, source, source_mask)]
    csm_seconds = perf_counter() - start
    shading = coil_shading(csm, coil_matrix, (kspace.shape[-2], kspace.shape[-1]), whitening=whitening)
    data = CineData(kspace, mask, csm, meta=meta, shading=shading)
    return FinishedSlice(data if csm is None else data.with_warnings(*warnings), coil_matrix, csm_seconds)


def scale_maps(csm: Tensor) -> Tensor:
    """Coil maps ``(coils, y, x)``, normalised to a sum of squares of 1 wherever they are not zero."""
    energy = csm.abs().square().sum(-3)
    if bool(((energy - 1).abs() > NORM_TOLERANCE)[energy > 0].any()):
        return csm / energy.sqrt().clamp_min(torch.finfo(energy.dtype).tiny)
    return csm


def describe_compression(statistics: CoilStatistics, n_virtual: int, kind: Compression) -> str:
    """Description of the number of virtual coils and the loss of signal energy."""
    scope = " at each position along the readout" if kind == "geometric" else ""
    loss = float(statistics.loss[n_virtual - 1])
    compressed = f"{statistics.n_coils} coils compressed to {n_virtual}{scope}"
    return f"{compressed}: {loss:.2%} of the signal energy is discarded"


def _compression(kspace: Tensor, mask: Tensor, config: AcquisitionConfig, where: str) -> tuple[Tensor | None, str]:
    """The matrices of the virtual coils for `transform_coils`, None without compression; and a description of them."""
    n_coils = kspace.shape[-3]
    requested = config.fewer_coils(n_coils)
    if requested is None:
        return None, describe_kept_coils(n_coils, config.n_virtual_coils)
    if config.compression == "geometric" and mask.shape[-1] != 1:
        what = "geometric coil compression needs completely measured readouts"
        raise UnsupportedError(what, where=where, hint="--set preprocessing.compression=pca")
    statistics = CoilStatistics.of_kspace(kspace, mask, config.compression)
    n_virtual = statistics.n_virtual(requested)
    if n_virtual >= n_coils:
        return None, describe_kept_coils(n_coils, requested)
    return statistics.matrix(n_virtual), describe_compression(statistics, n_virtual, config.compression)
