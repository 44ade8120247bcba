"""Magnitude cines of other programs: NIfTI, DICOM and NumPy archives, read slice by slice."""

from cinerecon.io.magnitude.archive import open_archive, survey_archive
from cinerecon.io.magnitude.dicom import is_dicom, open_dicom
from cinerecon.io.magnitude.images import MagnitudeImages, cut_out, refuse_segmentation, require_images
from cinerecon.io.magnitude.nifti import ENDINGS as NIFTI_ENDINGS
from cinerecon.io.magnitude.nifti import open_nifti
from cinerecon.io.magnitude.open import open_magnitude, open_one_magnitude

__all__ = [
    "NIFTI_ENDINGS",
    "MagnitudeImages",
    "cut_out",
    "is_dicom",
    "open_archive",
    "open_dicom",
    "open_magnitude",
    "open_nifti",
    "open_one_magnitude",
    "refuse_segmentation",
    "require_images",
    "survey_archive",
]
