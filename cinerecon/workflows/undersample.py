"""Undersample a fully sampled slice after the fact, so that a reconstruction can be compared with the truth."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.data.cine import CineData
from cinerecon.data.mask_file import read_mask
from cinerecon.errors import ConfigError, DataError
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.sampling import parse_mask
from cinerecon.workflows.intake import block_of_lines


def undersample(data: CineData, pattern: str, *, seed: int = 0, csm: str = "smooth") -> CineData:
    """Sample a fully sampled slice again, with fewer points: maps from these points alone, reference kept.

    Parameters
    ----------
    data
        Fully sampled; lines the scan left out at the edges of k-space stay out.
    pattern
        What `parse_mask` reads, or a mask file (``.npz``).
    seed
        Of the pattern.
    csm
        How maps are estimated.

    Raises
    ------
    DataError
        If the slice is not fully sampled.
    ConfigError
        If the pattern or the mask does not fit.
    """
    where = f"{data.meta.source}, slice {data.meta.slice}"
    if block_of_lines(data.mask) is None:
        raise DataError("the scan is undersampled already", where=where, hint="leave --undersample out")
    mask = _mask_for(data, pattern, seed, where).to(data.mask.device) & data.mask
    kspace = data.kspace * mask
    return replace(data, kspace=kspace, mask=mask, csm=estimate_csm(kspace, mask, csm))  # type: ignore[arg-type]


def _mask_for(data: CineData, pattern: str, seed: int, where: str) -> Tensor:
    ky, kx = data.matrix
    if not pattern.endswith(".npz"):
        return parse_mask(pattern).draw(data.n_frames, ky, kx, seed)
    mask = torch.from_numpy(read_mask(Path(pattern)))
    for axis, found, expected in zip(("frames", "ky", "kx"), mask[:, 0].shape, (data.n_frames, ky, kx), strict=True):
        if found != expected and not (axis == "kx" and found == 1):
            hint = f"cinerecon mask ... --frames {data.n_frames} --ky {ky} --kx {kx}"
            raise ConfigError(f"mask has {found} {axis}, the scan has {expected}", where=where, hint=hint)
    return mask
