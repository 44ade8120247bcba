"""Elements of DICOM images that classic and Enhanced MR images have in common."""

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.image import DEIDENTIFIED, QUANTITIES, CineImage, Vector, each, slice_spacing_mm, window
from cinerecon.io.ismrmrd.header import MrdHeader
from cinerecon.provenance import ANONYMOUS, Patient, Provenance
from cinerecon.words import printable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

WHITE_VALUE = 4095
"""Stored value of the brightest pixel: 12 bits, as in images from scanners."""

ZERO_VELOCITY = 2048
"""Stored value of velocity 0."""

MIN_PARALLEL = 1 - 1e-4
"""Smallest cosine of the angle between the normals of slices that are considered parallel."""
SAME_LOCATION_MM = 0.1
"""Distance below which parallel slices are considered to be at the same location [mm]."""

MAGNITUDE, NO_UNIT = "magnitude", ("1", "no units")
"""Name of the quantity of an image; UCUM code and meaning of quantities without unit."""

MANUFACTURER = "cinerecon"
PRIVATE_GROUP, PRIVATE_CREATOR = 0x0071, "CINERECON VERDICT"
"""Group and creator of the private block that contains the verdict."""
LONGEST_TEXT, LONGEST_COMMENT = 1024, 10240
"""Largest number of characters of the derivation description and of the image comments."""
FIRST_SERIES_NUMBER, N_SERIES_NUMBERS = 1000, 90000
"""Range of the series number divided by 100, above those of scanners; the checksum of a run selects one of them."""
POSITIONS = {
    *(f"{first}{turn}" for first in ("HF", "FF") for turn in ("P", "S", "DR", "DL")),
    *(f"{first}{turn}" for first in ("L", "R") for turn in ("FP", "FS")),
    *(f"{first}{turn}" for first in ("AF", "PF") for turn in ("DR", "DL")),
}
"""Patient positions defined by DICOM."""


def scale_and_white(cines: list[CineImage]) -> tuple[float, int]:
    """The magnitude that corresponds to a stored value of 1, and the stored value that is displayed white."""
    scale = max(float(cine.magnitude.max()) for cine in each(cines)) / WHITE_VALUE or 1.0
    return scale, max(round(window(cine.magnitude for cine in each(cines)) / scale), 1)


def provenance_of_pixels(cines: list[CineImage]) -> Provenance:
    """Identifiers derived from the pixels, for images without provenance."""
    digest = hashlib.sha256()
    for cine in each(cines):
        digest.update(repr((cine.image.shape, cine.meta.geometry)).encode())
        digest.update(np.ascontiguousarray(cine.image).tobytes())
    content = digest.hexdigest()
    return Provenance(scan_sha256="", study=content, frame_of_reference=content, series=content)


def new_dataset(
    provenance: Provenance, patient: Patient, stack: int, instance: int, quantity: str, *, is_enhanced: bool = False
) -> "Dataset":
    """Create a dataset with its identifiers: the study is that of the scan, the series that of the run and the stack.

    The identifiers depend on the patient ID, since archives assign each identifier to one patient.

    Parameters
    ----------
    provenance
        Origin of the images.
    patient
        Identity of the patient; empty values for anonymous images.
    stack, instance
        Index of the stack, and number of the image in the series.
    quantity
        Quantity of a map; empty for an image.
    is_enhanced
        Whether the dataset contains all frames (Enhanced MR).
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

    run = f"{provenance.series} enhanced" if is_enhanced else provenance.series
    storage = EnhancedMRImageStorage if is_enhanced else MRImageStorage
    study_uid: str = patient.study_uid or derived_uid("study", provenance.study, patient.patient_id)
    series = " ".join(filter(None, (run, str(study_uid), str(stack), quantity)))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = derived_uid("instance", series, instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID = study_uid
    frame_uid = derived_uid("frame of reference", provenance.frame_of_reference, patient.patient_id)
    dataset.FrameOfReferenceUID = patient.frame_of_reference_uid or frame_uid
    dataset.SeriesInstanceUID = derived_uid("series", series)
    dataset.SeriesNumber = _series_number(run, study_uid, stack, quantity)
    dataset.InstanceNumber = instance
    return dataset


def _series_number(run: str, study_uid: str, stack: int, quantity: str) -> int:
    """The series number, such that viewers list the stacks of a run in order, each with its maps."""
    digest = hashlib.sha256(f"{run} {study_uid}".encode()).hexdigest()
    first = (FIRST_SERIES_NUMBER + int(digest, 16) % N_SERIES_NUMBERS) * 100
    return first + stack * (1 + len(QUANTITIES)) + (list(QUANTITIES).index(quantity) + 1 if quantity else 0)


def derived_uid(*parts: object) -> "UID":
    """A UID that is determined by its parts."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[repr(parts)])  # several strings would be joined without a separator


def set_date(dataset: "Dataset", patient: Patient | None, now: datetime.datetime) -> None:
    """Set the current time for series and images, and the study time, which is known only from the patient's images."""
    dataset.StudyDate, dataset.StudyTime = (patient.study_date, patient.study_time) if patient else ("", "")
    dataset.SeriesDate = dataset.ContentDate = now.strftime("%Y%m%d")
    dataset.SeriesTime = dataset.ContentTime = now.strftime("%H%M%S")


def describe(dataset: "Dataset", cine: CineImage, scale: float) -> None:
    """Set type, derivation and comments of the image."""
    dataset.Modality, dataset.BodyPartExamined, dataset.BurnedInAnnotation = "MR", "HEART", "NO"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER", cine.quantity.upper() or "M"]
    provenance = cine.provenance
    texts = () if provenance is None else (f"{name} {text}" for name, text in provenance.texts.items())
    details = "" if provenance is None else "; " + ", ".join(texts)
    derivation = f"cinerecon {cine.title}, not for diagnostic use{details}"
    dataset.DerivationDescription = printable(derivation)[:LONGEST_TEXT]
    settings = () if provenance is None else provenance.settings  # viewers show series by their description
    dataset.SeriesDescription = short_text(" ".join((f"cinerecon {cine.title}", *settings)))
    dataset.SoftwareVersions = provenance.software if provenance else MANUFACTURER
    if cine.quantity == "velocity":
        dataset.ImageType = ["DERIVED", "SECONDARY", "VELOCITY MAP", "P"]
    remarks = "; ".join((*cine.remarks, meaning_of_values(cine.quantity, scale)))
    dataset.ImageComments = printable(remarks)[:LONGEST_COMMENT]
    dataset.ProtocolName = short_text(cine.meta.protocol)
    dataset.Manufacturer = MANUFACTURER


def meaning_of_values(quantity: str, scale: float) -> str:
    """The relation between the quantity and the stored values, for the image comments."""
    if quantity == "velocity":
        return "velocity = stored value x rescale slope + intercept [cm/s]"
    return f"{QUANTITIES.get(quantity, MAGNITUDE)} = stored value x {scale:.9g}"


def add_verdict(dataset: "Dataset", cine: CineImage) -> None:
    """Add the values of the verdict as a private block; the image comments contain it as text."""
    verdict = cine.verdict
    if verdict is None:
        return
    block = private_block(dataset)
    block.add_new(0x01, "LO", verdict.status)
    block.add_new(0x02, "UT", "; ".join(verdict.reasons))
    block.add_new(0x03, "FD", [verdict.psnr, verdict.psnr_low, verdict.psnr_high])
    block.add_new(0x04, "FD", [verdict.heart_error, verdict.heart_error_low, verdict.heart_error_high])
    block.add_new(0x05, "FD", verdict.usual_psnr)
    block.add_new(0x06, "FD", verdict.risk)


def private_block(dataset: "Dataset") -> Any:
    """The private block of this package."""
    return dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)


def short_text(text: str) -> str:
    """A text limited to 64 characters, the maximum of a long string (LO)."""
    return printable(text).replace("\\", "/")[:64].strip()


def identify(dataset: "Dataset", patient: Patient | None, study: str) -> None:
    """Set patient and study, which are anonymous if no patient is given.

    Anonymous patients have a different ID in each study, since archives merge patients with the same ID.
    """
    if patient is None:
        dataset.PatientName, dataset.PatientID = "Anonymous^", f"{ANONYMOUS}{study[:8]}"
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = DEIDENTIFIED
    else:
        dataset.PatientName, dataset.PatientID = patient.name, patient.patient_id
        dataset.PatientIdentityRemoved = "NO"
        if patient.study_description:
            dataset.StudyDescription = patient.study_description
    patient = patient or Patient()
    dataset.PatientBirthDate, dataset.PatientSex = patient.birth_date, patient.sex
    dataset.StudyID, dataset.AccessionNumber = patient.study_id, patient.accession_number
    dataset.ReferringPhysicianName = patient.referring_physician


def set_acquisition(dataset: "Dataset", header: MrdHeader | None, *, is_turned: bool) -> None:
    """Set the acquisition parameters in the header; the readout is along rows, or along columns if turned."""
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTime = dataset.RepetitionTime = dataset.EchoTrainLength = None
    if header is None:
        return
    numbers = {
        "EchoTime": header.te_ms,
        "RepetitionTime": header.tr_ms,
        "FlipAngle": header.flip_degrees,
        "MagneticFieldStrength": header.field_strength_tesla,
    }
    for name, value in numbers.items():
        if value is not None and value > 0:
            setattr(dataset, name, f"{value:.8g}")
    if header.sequence:
        dataset.SequenceName = printable(header.sequence.rpartition("\\")[2])[:16]
    encoding = header.encoding
    oversampling = max(encoding.encoded.fov_mm[0] / encoding.recon.fov_mm[0], 1.0)
    n_lines = encoding.encoded.matrix[1] if encoding.line_limit is None else encoding.line_limit.n_values
    n_read = round(encoding.encoded.matrix[0] / oversampling)
    # frequency rows, frequency columns, phase rows, phase columns
    dataset.AcquisitionMatrix = [0, n_read, n_lines, 0] if is_turned else [n_read, 0, 0, n_lines]
    dataset.InPlanePhaseEncodingDirection = "ROW" if is_turned else "COL"


def spacing_and_normal(cine: CineImage, stack: list[CineImage], cines: list[CineImage]) -> tuple[float, Vector | None]:
    """Distance of a slice from the adjacent one [mm], and the normal ``(3,)`` of its parallel slices.

    Parallel slices with different in-plane directions or opposite normals are in separate series, but are included in
    the distance. For a single slice, the distance is the slice thickness.

    Parameters
    ----------
    cine
        The slice.
    stack
        The slices of its stack.
    cines
        All slices.
    """
    voxel = cine.first_voxel
    if voxel is None:
        return abs(slice_spacing_mm(stack)), None
    voxels = [other.first_voxel for other in cines]
    parallel = [other for other in voxels if other and abs(float(other[3] @ voxel[3])) > MIN_PARALLEL]
    distances = (abs(float((other[0] - voxel[0]) @ voxel[3])) for other in parallel)
    nearest = min((distance for distance in distances if distance > SAME_LOCATION_MM), default=None)
    spacing = slice_spacing_mm(stack) if len(stack) > 1 or nearest is None else nearest
    return abs(spacing), parallel[0][3]


def set_geometry(dataset: "Dataset", cine: CineImage, spacing_mm: float, normal: Vector | None) -> None:
    """Set pixel size, position and orientation."""
    dataset.PixelSpacing = [f"{size:.8g}" for size in cine.meta.pixel_size_mm]
    dataset.SliceThickness = f"{cine.meta.slice_thickness_mm:.8g}"
    dataset.SpacingBetweenSlices = f"{spacing_mm:.8g}"
    dataset.PositionReferenceIndicator = ""
    geometry, voxel = cine.meta.geometry, cine.first_voxel
    position = "" if geometry is None else geometry.patient_position
    dataset.PatientPosition = position if position in POSITIONS else ""
    if voxel is None or normal is None:
        dataset.ImagePositionPatient = dataset.ImageOrientationPatient = None
        return
    corner, read, phase, _ = voxel
    dataset.ImagePositionPatient = [f"{value:.8g}" for value in corner]
    dataset.ImageOrientationPatient = [f"{value:.8g}" for value in (*read, *phase)]
    dataset.SliceLocation = f"{float(corner @ normal):.8g}"


def set_pixels(dataset: "Dataset", stored: NDArray[np.uint16], white: int) -> None:
    """Set pixels of 12 bits, displayed from 0 to ``white``; the slope is 1, since narrower windows are invalid."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.WindowCenter, dataset.WindowWidth = f"{white / 2:g}", f"{white}"
    dataset.PixelData = stored.astype("<u2").tobytes()


def stored_pixels(cine: CineImage, scale: float) -> NDArray[np.uint16]:
    """Pixels of 12 bits, ``(frames, y, x)``; velocity 0 is stored as `ZERO_VELOCITY`."""
    if cine.quantity == "velocity":
        values = np.round(cine.values / (cine.venc_cm_s / ZERO_VELOCITY)) + ZERO_VELOCITY
        return values.clip(0, WHITE_VALUE).astype(np.uint16)
    return np.round(cine.magnitude / scale).astype(np.uint16)


def set_values(dataset: "Dataset", cine: CineImage, scale: float) -> None:
    """Set the quantity that is represented by the stored values."""
    if cine.quantity == "velocity":
        _velocity_values(dataset, cine.venc_cm_s)
    else:
        _real_world_values(dataset, QUANTITIES.get(cine.quantity, MAGNITUDE), NO_UNIT, scale, 0.0)


def _velocity_values(dataset: "Dataset", venc_cm_s: float) -> None:
    """Set slope and intercept in cm/s, and the display window to +-VENC (PS3.3 C.11.1, C.8.3.1.1.1: VELOCITY MAP)."""
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{venc_cm_s / ZERO_VELOCITY:.10g}", f"{-venc_cm_s:.10g}"
    dataset.RescaleType = "cm/s"
    dataset.WindowCenter, dataset.WindowWidth = "0", f"{max(2 * venc_cm_s, 1):g}"
    _real_world_values(dataset, "velocity", ("cm/s", "centimeter per second"), venc_cm_s / ZERO_VELOCITY, -venc_cm_s)


def _real_world_values(
    dataset: "Dataset", name: str, unit_code: tuple[str, str], slope: float, intercept: float
) -> None:
    """Set the mapping to real world values, which viewers display instead of stored values.

    Parameters
    ----------
    dataset
        The dataset, which is changed.
    name
        Name of the quantity.
    unit_code
        UCUM code of the unit, and its meaning.
    slope, intercept
        Value = slope x stored value + intercept.
    """
    from pydicom.dataset import Dataset

    unit, item = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = unit_code[0], "UCUM", unit_code[1]
    item.MeasurementUnitsCodeSequence = [unit]
    item.LUTExplanation = item.LUTLabel = name
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, WHITE_VALUE
    item.RealWorldValueIntercept, item.RealWorldValueSlope = intercept, slope
    dataset.RealWorldValueMappingSequence = [item]
