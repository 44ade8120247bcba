"""The identity of a patient for DICOM files: from options, or from an image that exists."""

from dataclasses import replace
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.provenance import Patient

ELEMENTS = {
    "patient_id": "PatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_uid": "StudyInstanceUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "study_description": "StudyDescription",
    "referring_physician": "ReferringPhysicianName",
}
"""DICOM elements of the fields of `Patient`."""


def make_patient(
    patient_id: str | None = None, name: str | None = None, accession: str | None = None, like: Path | None = None
) -> Patient | None:
    """The patient of the options; what is given replaces what an existing image says.

    Returns
    -------
    Patient or None
        None if nothing was given: images are anonymous.

    Raises
    ------
    FileError
        If the existing image is not a DICOM file of a study.
    """
    given = {"patient_id": patient_id, "name": name, "accession_number": accession}
    values = {field: value for field, value in given.items() if value is not None}
    if like is None and not values:
        return None
    return replace(Patient() if like is None else read_patient(like), **values)


def read_patient(path: Path) -> Patient:
    """Patient, study and frame of reference of a DICOM file.

    Raises
    ------
    FileError
        If it is missing, is not DICOM, or has no study.
    """
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        raise FileError(f"cannot read the DICOM file: {error}", where=f"--like {path}") from None
    values = {field: str(header.get(element, "") or "") for field, element in ELEMENTS.items()}
    if not values["study_uid"]:
        raise FileError("the file belongs to no study", where=f"--like {path}", hint="give one image of the study")
    return Patient(**values)
