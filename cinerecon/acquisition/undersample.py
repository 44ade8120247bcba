"""Retrospective undersampling of fully sampled slices, so that a reconstruction can be compared with the truth."""

import hashlib
from dataclasses import replace
from pathlib import Path

from cinerecon.cine import CineData, as_tensor
from cinerecon.errors import DataError
from cinerecon.io.cmrxrecon import subject_of
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.sampling import block_of_lines, csm_warning, measured_extent, parse_sampling


def pattern_seed(data: CineData, seed: int) -> int:
    """The seed of the pattern of a slice, from the name of its scan, its number, and the subject in an archive of many.

    It depends on nothing else, so a scan has the same pattern alone and among others, in `recon` and in `evaluate`.
    """
    source = Path(data.meta.source)
    subject = subject_of(source)
    text = f"{seed} {f'{subject}/' if subject else ''}{source.stem} {data.meta.slice}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def undersample(data: CineData, pattern: str, *, seed: int = 0, csm: str = "smooth") -> CineData:
    """Undersample a fully sampled slice: maps are estimated from the remaining points, the reference is kept.

    The metadata have a warning if the maps come from too few lines.

    Parameters
    ----------
    data
        Fully sampled; lines that the scan did not measure at the edges of k-space remain excluded.
    pattern
        The pattern, as `parse_sampling` reads it.
    seed
        Seed of the pattern.
    csm
        Method of the coil maps.

    Raises
    ------
    DataError
        If the slice is not fully sampled.
    ConfigError
        If the pattern or the mask does not fit.
    FileError
        If the mask cannot be read.
    """
    where = f"{data.meta.source}, slice {data.meta.slice}"
    if block_of_lines(data.mask) is None:
        raise DataError(
            "the scan is undersampled already",
            where=where,
            hint="a scan as it was measured is reconstructed without --undersample, and compared by evaluate --recon",
        )
    drawn = parse_sampling(pattern).draw(data.n_frames, *data.matrix, seed)
    mask = as_tensor(drawn).to(data.mask.device) & data.mask
    kspace = data.kspace * mask
    maps = estimate_csm(kspace, mask, csm)  # type: ignore[arg-type]
    doubt = None if maps is None else csm_warning(mask, data.matrix[1])
    warnings = data.meta.warnings if doubt is None else (*data.meta.warnings, doubt)
    meta = replace(data.meta, extent=measured_extent(data.mask), warnings=warnings)
    return replace(data, kspace=kspace, mask=mask, csm=maps, meta=meta)
