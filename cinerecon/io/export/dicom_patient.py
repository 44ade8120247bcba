"""Identity of the patient for DICOM files, from options or from an existing image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cinerecon.errors import ConfigError, FileError
from cinerecon.io.recognise import is_dicom
from cinerecon.io.untrusted import refuse_pipe, reporting_damage
from cinerecon.provenance import Patient, hashed_identifier, hashed_subject

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
"""DICOM element of each field of `Patient`."""
REQUIRED = ("patient_id", "study_uid", "frame_of_reference_uid")
"""Fields that are required in an existing image."""
LONGEST = {"--patient": 64, "--name": 64, "--accession": 16}
"""Largest number of characters that DICOM allows for the value of an option."""


def make_patient(
    patient_id: str | None = None, name: str | None = None, accession: str | None = None, like: Path | None = None
) -> Patient | None:
    """The patient from options and, for all other values, from an existing image.

    Parameters
    ----------
    patient_id, name, accession
        Values of the options; None if not given.
    like
        An image of the same examination; None if not given.

    Returns
    -------
    Patient or None
        None if no value is given: images are anonymous.

    Raises
    ------
    ConfigError
        If a value is not valid in DICOM or differs from the existing image, or the patient ID is missing.
    FileError
        If the existing image cannot be read, or has no patient, study or frame of reference.
    """
    options = (("--patient", "patient_id", patient_id), ("--name", "name", name))
    given: dict[str, Any] = {}
    for option, field, text in (*options, ("--accession", "accession_number", accession)):
        if text is not None:
            given[field] = _checked(option, text)
    if like is None:
        if given and not patient_id:
            raise ConfigError("a name or an accession number needs a patient ID", where="--patient")
        return Patient(**given) if given else None
    known = read_patient(like)
    for field, text in given.items():
        if getattr(known, field) not in ("", text):
            what = f"'{text}' is given, the image has {ELEMENTS[field]} '{getattr(known, field)}'"
            raise ConfigError(what, where=f"--like {like}", hint="images of one study have the same patient")
    return replace(known, **given, is_confirmed=patient_id is not None)


def read_patient(path: Path) -> Patient:
    """Read patient, study and frame of reference of a DICOM file.

    Raises
    ------
    FileError
        If it is missing, is not DICOM, or has no patient, study or frame of reference.
    """
    import pydicom

    if path.is_dir():
        raise FileError("this is a folder", where=f"--like {path}", hint="give one of the images of the study")
    refuse_pipe(path)
    if path.is_file() and not is_dicom(path):
        hint = "give a DICOM image of the same examination"
        raise FileError("this is not a DICOM file", where=f"--like {path}", hint=hint)
    with reporting_damage("cannot read the DICOM file", f"--like {path}"):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        values: dict[str, Any] = {field: str(header.get(element, "") or "") for field, element in ELEMENTS.items()}
    for field in REQUIRED:
        if not values[field]:
            hint = "give an MR image of the same examination, with patient, study and frame of reference"
            raise FileError(f"the file has no {ELEMENTS[field]}", where=f"--like {path}", hint=hint)
    return Patient(**values, source=path)


def require_same_patient(patient: Patient | None, subject: str, frame_of_reference: str, where: str) -> None:
    """Check that an existing image and the scan have the same identifiers, as far as they are known.

    The patient may differ if the user gives the patient ID explicitly, since raw data may be pseudonymised.

    Parameters
    ----------
    patient
        The patient from options and existing image.
    subject, frame_of_reference
        Hashes of patient ID and frame of reference in the header of the scan; empty if unknown.
    where
        The scan, for messages.

    Raises
    ------
    ConfigError
        If the images would be assigned to another patient, or their positions would be wrong.
    """
    if patient is None or patient.source is None:
        return
    other = hashed_subject(patient.patient_id)
    if subject and other and subject != other and not patient.is_confirmed:
        hint = f"if it is the same patient under another ID, add --patient '{patient.patient_id}'"
        raise ConfigError(f"the scan does not belong to the patient of {patient.source}", where=where, hint=hint)
    other = hashed_identifier(patient.frame_of_reference_uid)
    if frame_of_reference and other and frame_of_reference != other:
        what = f"the frame of reference of the scan differs from that of {patient.source}"
        raise ConfigError(what, where=where, hint="give an image with the frame of reference of the scan")


def _checked(option: str, text: str) -> str:
    """The value of an option without surrounding spaces, if its characters and its length are valid in DICOM."""
    if not text.strip():
        raise ConfigError("the value is empty", where=option)
    if len(text) > LONGEST[option]:
        raise ConfigError(f"'{text}' has {len(text)} characters, DICOM allows {LONGEST[option]}", where=option)
    if "\\" in text or not text.isprintable():
        raise ConfigError(f"{text!r} contains a backslash or control characters", where=option)
    return text.strip()
