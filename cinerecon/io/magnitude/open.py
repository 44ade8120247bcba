"""Find and open magnitude cines: NumPy archives, NIfTI files, and folders of DICOM images."""

import os
from pathlib import Path

from cinerecon.errors import DataError, FileError
from cinerecon.io.export import nifti
from cinerecon.io.export.dicom import holds_reconstruction
from cinerecon.io.magnitude.archive import open_archive
from cinerecon.io.magnitude.dicom import is_dicom, open_dicom
from cinerecon.io.magnitude.dicom_header import has_dicom_name
from cinerecon.io.magnitude.images import MagnitudeImages
from cinerecon.io.magnitude.nifti import ENDINGS, open_nifti


def find_magnitudes(root: Path) -> list[Path]:
    """NumPy archives, NIfTI files and folders of DICOM images in a folder and below; or the file itself.

    Hidden files are skipped, and reconstructions by this package, which are no truth. Whether the images are cines is
    known only after they are opened.
    """
    if root.is_file():
        return [root]
    found: list[Path] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        files = [path for name in sorted(names) if not name.startswith(".") and (path := Path(folder, name)).is_file()]
        found += [path for path in files if _may_hold_images(path)]
        if any(has_dicom_name(path) and is_dicom(path) and not holds_reconstruction(path) for path in files):
            found.append(Path(folder))
    return found


def _may_hold_images(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(".npz") or (name.endswith(ENDINGS) and not nifti.holds_reconstruction(path))


def stem_of(path: Path) -> str:
    """The name of a file without its ending, which is ``.nii.gz`` for compressed NIfTI; that of a folder as it is."""
    if path.is_dir():
        return path.name
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


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
    return [open_nifti(path) if path.name.lower().endswith(ENDINGS) else open_archive(path)]


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
