"""The magnitude cines below a folder."""

import os
from pathlib import Path

from cinerecon.io.export import nifti
from cinerecon.io.export.dicom import holds_reconstruction
from cinerecon.io.magnitude.dicom_header import has_dicom_name, is_dicom
from cinerecon.io.magnitude.nifti import ENDINGS


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
