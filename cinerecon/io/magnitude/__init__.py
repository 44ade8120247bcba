"""Magnitude cines in NIfTI, DICOM and NumPy files, read slice by slice."""

from cinerecon.io.magnitude.archive import is_magnitude_archive, open_archive
from cinerecon.io.magnitude.dicom import open_dicom
from cinerecon.io.magnitude.dicom_header import has_dicom_name
from cinerecon.io.magnitude.images import MagnitudeImages, cut_out, refuse_segmentation, require_images
from cinerecon.io.magnitude.nifti import ENDINGS as NIFTI_ENDINGS
from cinerecon.io.magnitude.nifti import open_nifti
from cinerecon.io.magnitude.open import find_magnitudes, open_magnitude, open_one_magnitude, stem_of
from cinerecon.io.recognise import is_dicom

__all__ = [
    "NIFTI_ENDINGS",
    "MagnitudeImages",
    "cut_out",
    "find_magnitudes",
    "has_dicom_name",
    "is_dicom",
    "is_magnitude_archive",
    "open_archive",
    "open_dicom",
    "open_magnitude",
    "open_nifti",
    "open_one_magnitude",
    "refuse_segmentation",
    "require_images",
    "stem_of",
]
