"""Find and open magnitude cines: NumPy archives, NIfTI files, and folders of DICOM images."""

from pathlib import Path

from cinerecon.errors import DataError, FileError
from cinerecon.io.export import nifti
from cinerecon.io.export.dicom import holds_reconstruction
from cinerecon.io.magnitude.archive import open_archive
from cinerecon.io.magnitude.dicom import open_dicom
from cinerecon.io.magnitude.dicom_header import has_dicom_name
from cinerecon.io.magnitude.images import MagnitudeImages
from cinerecon.io.magnitude.nifti import ENDINGS, open_nifti
from cinerecon.io.paths import walk_visible
from cinerecon.io.recognise import is_dicom


def find_magnitudes(root: Path) -> list[Path]:
    """Find NumPy archives, NIfTI files and folders of DICOM images in a folder and below; a file is returned itself.

    Hidden files are skipped, and so are reconstructions by this package, which are not suitable as a reference. The
    images are not opened, so that some may not be cines.
    """
    if root.is_file():
        return [root]
    paths: list[Path] = []
    for folder, names in walk_visible(root):
        files = [path for path in names if path.is_file()]
        paths += [path for path in files if _may_hold_images(path)]
        if any(has_dicom_name(path) and is_dicom(path) and not holds_reconstruction(path) for path in files):
            paths.append(folder)
    return paths


def _may_hold_images(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(".npz") or (name.endswith(ENDINGS) and not nifti.holds_reconstruction(path))


def stem_of(path: Path) -> str:
    """The name of a file without its suffix, which may be ``.nii.gz``; the name of a folder is not changed."""
    if path.is_dir():
        return path.name
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def open_magnitude(path: Path) -> list[MagnitudeImages]:
    """Open the magnitude cines in a file (NIfTI, NumPy archive or Enhanced MR), or of each DICOM series in a folder.

    Reconstructions by this package are ignored if the folder also contains images from a scanner.

    Raises
    ------
    FileError
        If the file is missing, damaged, not a regular file, or a single DICOM image.
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
    """Open the only magnitude cine of a path, see `open_magnitude`.

    Raises
    ------
    FileError
        If the file is missing, damaged, not a regular file, or a single DICOM image.
    DataError
        If there is no cine among the DICOM images, or more than one series.
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
