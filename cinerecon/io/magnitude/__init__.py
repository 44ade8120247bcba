"""Magnitude cines of other programs: NIfTI, DICOM and NumPy archives, read slice by slice."""

from pathlib import Path

from cinerecon.errors import DataError, FileError
from cinerecon.io.export.dicom import holds_reconstruction
from cinerecon.io.magnitude.archive import open_archive
from cinerecon.io.magnitude.dicom import is_dicom, open_dicom
from cinerecon.io.magnitude.dicom_header import has_dicom_name
from cinerecon.io.magnitude.find import find_magnitudes, stem_of
from cinerecon.io.magnitude.images import MagnitudeImages, cut_out, refuse_segmentation, require_images
from cinerecon.io.magnitude.nifti import ENDINGS as NIFTI_ENDINGS
from cinerecon.io.magnitude.nifti import open_nifti

__all__ = [
    "NIFTI_ENDINGS",
    "MagnitudeImages",
    "cut_out",
    "find_magnitudes",
    "has_dicom_name",
    "is_dicom",
    "open_archive",
    "open_dicom",
    "open_magnitude",
    "open_nifti",
    "open_one_magnitude",
    "refuse_segmentation",
    "require_images",
    "stem_of",
]


def open_magnitude(path: Path) -> list[MagnitudeImages]:
    """The magnitude cines of a file, or of the DICOM images in a folder: one for each series.

    The file is NIfTI, a NumPy archive or Enhanced MR.

    Reconstructions by this package are left out where the folder also holds images of a scanner.

    Raises
    ------
    FileError
        If the path is missing, is not a regular file, is a single DICOM image, or the file is damaged.
    DataError
        If there is no cine among the DICOM images.
    """
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.is_file() and is_dicom(file)]
        originals = [file for file in files if not holds_reconstruction(file)]
        cines = open_dicom(path, originals or files)
        if not cines:
            what = (
                "the DICOM images contain no cine: no slice has several time points"
                if files
                else "the folder contains no DICOM images"
            )
            raise DataError(what, where=str(path))
        return cines
    if path.is_file() and is_dicom(path):
        cines = open_dicom(path.parent, [path])
        if not cines:
            hint = f"give its folder, {path.parent}"
            raise FileError("this is one DICOM image, not a cine", where=str(path), hint=hint)
        return cines
    return [open_nifti(path) if path.name.lower().endswith(NIFTI_ENDINGS) else open_archive(path)]


def open_one_magnitude(path: Path) -> MagnitudeImages:
    """The only magnitude cine of a path, see `open_magnitude`.

    Raises
    ------
    FileError
        See `open_magnitude`.
    DataError
        Also if a folder holds several series.
    """
    cines = open_magnitude(path)
    if len(cines) > 1:
        names = ", ".join(cine.name for cine in cines)
        hint = "put each series into a separate folder"
        raise DataError(
            f"the {'folder' if path.is_dir() else 'file'} contains {len(cines)} series: {names}",
            where=str(path),
            hint=hint,
        )
    return cines[0]
