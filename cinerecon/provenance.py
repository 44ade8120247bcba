"""How images were made, and for whom: what accompanies them into every file format."""

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Provenance:
    """How an image was made. The same scan, method and settings give the same values, on any machine.

    Attributes
    ----------
    scan_sha256
        Checksum of the files of the scan.
    study
        Key that scans of one study share: a hash of its identifier in the header, else `scan_sha256`.
    series
        Checksum of scan, method, weights and all settings that change the image.
    settings
        ``key=value`` texts for method and preprocessing, sampling pattern, slices and frames, where they were given.
    weights_sha256
        Checksum of the weights of a network; empty for classical methods.
    acceleration
        Net acceleration of the samples that were used.
    residual
        ||mask (A x) - y|| / ||y||.
    """

    scan_sha256: str
    study: str
    series: str
    settings: tuple[str, ...] = ()
    weights_sha256: str = ""
    acceleration: float = 1.0
    residual: float = 0.0

    @property
    def software(self) -> str:
        """Name and version of this program."""
        return f"cinerecon {version('cinerecon')}"

    def as_texts(self) -> dict[str, str]:
        """The values by name, as files keep them; what is empty is left out."""
        texts = {
            "software": self.software,
            "scan_sha256": self.scan_sha256,
            "series_sha256": self.series,
            "settings": " ".join(self.settings),
            "weights_sha256": self.weights_sha256,
            "acceleration": f"{self.acceleration:.4g}",
            "residual": f"{self.residual:.4g}",
        }
        return {name: text for name, text in texts.items() if text}


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
