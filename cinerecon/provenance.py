"""The provenance of images, and the identity of a patient, as they are written to files.

Hashes of identifiers allow scans of one subject or study to be matched, without storing who was scanned.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cinerecon.version import __version__

PREFIX, N_DIGITS = "person-", 10
"""Prefix of the hash of a patient ID, and its number of hexadecimal digits."""
ANONYMOUS = "anonymous-"
"""Prefix of the patient ID of anonymous images; the rest depends on the study, not on the patient."""
SHORTEST_IDENTIFIER = 8
"""Number of characters below which a study identifier is a mere counter."""

_HASHED = re.compile(rf"{PREFIX}[0-9a-f]{{{N_DIGITS}}}")


@dataclass(frozen=True)
class Provenance:
    """The origin of an image. The same scan, method and settings give the same values on any machine.

    Attributes
    ----------
    scan_sha256
        Checksum of the files of the scan, or of k-space and mask.
    study
        Key that is the same for all scans of one study: a hash of its identifier in the header, otherwise
        `scan_sha256`.
    frame_of_reference
        Key that scans with the same coordinate system share: a hash from the header, else `scan_sha256`.
    series
        Checksum of this program's version, the scan, method, weights and all settings that change the image.
    settings
        ``key=value`` texts for method and preprocessing, sampling pattern, slices and frames, if they were given.
    weights_sha256
        Checksum of the weights of a network; empty for classical methods.
    code_sha256
        Checksum of the code of a method or network from outside the package; otherwise empty.
    acceleration
        Net acceleration of the used samples.
    residual
        ||mask (A x) - y|| / ||y||.
    partial_fourier
        Part of k-space that was filled in; empty if no side of k-space was missing.
    coil_compression
        Description of the virtual coils and the signal loss; empty if coils were not compressed.
    """

    scan_sha256: str
    study: str
    frame_of_reference: str
    series: str
    settings: tuple[str, ...] = ()
    weights_sha256: str = ""
    code_sha256: str = ""
    acceleration: float = 1.0
    residual: float = 0.0
    partial_fourier: str = ""
    coil_compression: str = ""

    @property
    def software(self) -> str:
        """Name and version of this program."""
        return f"cinerecon {__version__}"

    @property
    def texts(self) -> dict[str, str]:
        """The values by name, as they are written to files; empty ones are left out."""
        texts = {
            "software": self.software,
            "scan_sha256": self.scan_sha256,
            "series_sha256": self.series,
            "settings": " ".join(self.settings),
            "weights_sha256": self.weights_sha256,
            "code_sha256": self.code_sha256,
            "acceleration": f"{self.acceleration:.4g}",
            "residual": f"{self.residual:.4g}",
            "partial_fourier": self.partial_fourier,
            "coil_compression": self.coil_compression,
        }
        return {name: text for name, text in texts.items() if text}


def series_texts(parts: Sequence[Provenance | None]) -> dict[str, str]:
    """The values for all slices of a file by name; one value per slice if they differ."""
    slices = [part.texts for part in parts if part is not None]
    lists = {name: [texts[name] for texts in slices] for name in (slices[0] if slices else ())}
    return {name: ", ".join(values if len(set(values)) > 1 else values[:1]) for name, values in lists.items()}


@dataclass(frozen=True)
class Patient:
    """Identity written into DICOM files at the user's request; by default images are anonymous.

    Attributes
    ----------
    patient_id, name, birth_date, sex
        As in DICOM; the date is ``YYYYMMDD``.
    accession_number
        Number of the examination in the archive.
    study_uid, frame_of_reference_uid
        Identifiers of an existing study, so that images appear in it, at the same place.
    study_date, study_time, study_id, study_description, referring_physician
        As in the existing study.
    source
        The existing image.
    is_confirmed
        Whether the user gave the patient ID in addition to an existing image.
    """

    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    study_description: str = ""
    referring_physician: str = ""
    source: Path | None = None
    is_confirmed: bool = False


def hashed_subject(patient_id: str) -> str:
    """A short hash of a patient ID; empty if the ID was blanked by one letter or a word.

    A hash stays as it is: scans simulated from images of a patient are of the same patient as the images.
    """
    if _HASHED.fullmatch(patient_id):
        return patient_id
    is_known = len(set(patient_id)) > 1 and any(letter.isdigit() for letter in patient_id)
    is_known = is_known and not patient_id.startswith(ANONYMOUS)
    return hashed_name(patient_id) if is_known else ""


def hashed_name(name: str) -> str:
    """A short hash of a name that is known to be that of a subject; a hash stays as it is."""
    return name if _HASHED.fullmatch(name) else PREFIX + hashlib.sha256(name.encode()).hexdigest()[:N_DIGITS]


def hashed_identifier(identifier: str) -> str:
    """SHA-256 of an identifier that is unique worldwide, e.g. of a study; empty for counters and blanked ones."""
    is_unique = len(identifier) >= SHORTEST_IDENTIFIER and len(set(identifier) - set("0._-")) > 1
    return hashlib.sha256(identifier.encode()).hexdigest() if is_unique else ""
