"""Magnitude cines of other programs: NIfTI, DICOM and NumPy archives, read slice by slice."""

from cinerecon.data.magnitude.archive import open_archive
from cinerecon.data.magnitude.dicom import is_dicom, open_dicom
from cinerecon.data.magnitude.images import MagnitudeImages, cut_out
from cinerecon.data.magnitude.nifti import ENDINGS as NIFTI_ENDINGS
from cinerecon.data.magnitude.nifti import open_nifti

__all__ = ["NIFTI_ENDINGS", "MagnitudeImages", "cut_out", "is_dicom", "open_archive", "open_dicom", "open_nifti"]
