"""Writer of NIfTI images: a time series of volumes in RAS coordinates."""

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.image import CineImage, collect_warnings, each, file_notes, map_in_remarks, slice_spacing_mm
from cinerecon.words import counted

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
FAST = 1
"""Compression level, as in nibabel."""


def affine_ras(stack: list[CineImage]) -> NDArray[np.float64]:
    """The affine ``(4, 4)`` from voxel indices (x, y, slice) to RAS coordinates [mm], as defined by NIfTI.

    Its columns are, in LPS: dx read_dir, dy phase_dir, the vector between adjacent slices, and the centre of the first
    voxel.
    """
    cine = stack[0]
    dy, dx = cine.meta.pixel_size_mm
    if cine.first_voxel is None:
        return np.diag([dx, dy, cine.meta.slice_thickness_mm, 1.0])
    corner, read, phase, across = cine.first_voxel
    affine = np.eye(4)
    affine[:3] = np.stack([dx * read, dy * phase, slice_spacing_mm(stack) * across, corner], axis=1)
    return LPS_TO_RAS @ affine


def write_nifti(path: Path, stack: list[CineImage]) -> None:
    """Write the magnitude of a stack of slices, (x, y, slice, frames) float32, with the frame interval as fourth size.

    The description, which is limited to 79 characters, contains the number of warnings. Their text and the provenance
    are stored as a comment in a header extension.
    """
    import nibabel

    affine = affine_ras(stack)
    image = nibabel.Nifti1Image(np.stack([cine.values.transpose(2, 1, 0) for cine in each(stack)], axis=2), affine)
    code = "unknown" if stack[0].first_voxel is None else "scanner"
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    dy, dx = stack[0].meta.pixel_size_mm
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms((dx, dy, abs(slice_spacing_mm(stack)), stack[0].frame_interval_ms or 0.0))
    warnings = collect_warnings(stack)
    count = f", {counted(len(warnings), 'warning')}" if warnings else ""
    image.header["descrip"] = f"not for diagnostic use{count}, cinerecon {stack[0].title}".encode()[:79]
    if notes := file_notes(stack):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", "\n".join(notes).encode()))
    with path.open("wb") as file:  # `nibabel.save` refuses names in both lower and upper case
        if not path.name.lower().endswith(".gz"):
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", FAST, file, mtime=0) as compressed:  # reproducible files
            image.to_stream(compressed)


def holds_reconstruction(path: Path) -> bool:
    """Whether a NIfTI file contains a reconstruction by this package; False if it cannot be read."""
    import nibabel

    try:
        image: Any = nibabel.load(path)
        return re.search(rb"cinerecon \w", bytes(image.header["descrip"])) is not None
    except Exception:  # the parser may fail in any way on arbitrary bytes
        return False


def map_in_nifti(path: Path) -> str:
    """The quantity of a map written by this package; empty for other files."""
    import nibabel

    if not holds_reconstruction(path):
        return ""
    image: Any = nibabel.load(path)
    texts = [bytes(extension.get_content()).decode(errors="replace") for extension in image.header.extensions]
    return map_in_remarks(line for text in texts for line in text.splitlines())
