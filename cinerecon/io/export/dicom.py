"""Write images as DICOM: one MR image per slice and frame, anonymous, marked as derived."""

import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cinerecon.image import DEIDENTIFIED, CineImage, slice_spacing_mm, stacks, window
from cinerecon.io.ismrmrd.header import MrdHeader, parse_header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WHITE = 4095
"""Stored value of the brightest pixel: 12 bits, as scanners write."""

FILE_PATTERN = "slice*_frame*.dcm"
MANUFACTURER = "cinerecon"
LONGEST_COMMENT = 10240
POSITIONS = {
    *(f"{first}{turn}" for first in ("HF", "FF") for turn in ("P", "S", "DR", "DL")),
    *(f"{first}{turn}" for first in ("L", "R") for turn in ("FP", "FS")),
    *(f"{first}{turn}" for first in ("AF", "PF") for turn in ("DR", "DL")),
}
"""How a patient may lie: the terms of the standard."""


def write_dicom(folder: Path, cines: list[CineImage]) -> None:
    """Write ``slice00_frame000.dcm`` and so on into a folder: one study, one series per stack of slices.

    Without geometry in the scan, orientation and position are left empty rather than invented. So is what the header
    of the scan does not tell.
    """
    from pydicom.uid import generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    study, frame_of_reference = generate_uid(), generate_uid()
    now = datetime.datetime.now(tz=datetime.UTC)
    scale = max(float(cine.magnitude.max()) for cine in cines) / WHITE or 1.0
    white = max(round(window([cine.magnitude for cine in cines]) / scale), 1)
    header = parse_header(cines[0].header_xml.encode()) if cines[0].header_xml else None
    number = 0
    for series_number, stack in enumerate(stacks(cines), start=1):
        series = generate_uid()
        for cine in stack:
            stored = np.round(cine.magnitude / scale).astype(np.uint16)
            for frame in range(cine.n_frames):
                dataset = _new_dataset(now)
                dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
                dataset.SeriesNumber, dataset.InstanceNumber = series_number, number + 1
                dataset.FrameOfReferenceUID = frame_of_reference
                _describe(dataset, cine, scale)
                _acquired(dataset, header)
                _place(dataset, cine, slice_spacing_mm(stack))
                _time(dataset, cine, frame)
                _pixels(dataset, stored[frame], white)
                dataset.save_as(folder / f"slice{cine.meta.slice:02d}_frame{frame:03d}.dcm", enforce_file_format=True)
                number += 1


def is_own(path: Path) -> bool:
    """Whether a file was written here; False for anything that cannot be read."""
    import pydicom

    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Manufacturer"])
        return bool(head.get("Manufacturer") == MANUFACTURER)
    except Exception:  # whatever the parser trips over in bytes that may be anything
        return False


def holds_reconstruction(path: Path) -> bool:
    """Whether a file holds what a method made, written here; False for anything that cannot be read."""
    import pydicom

    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesDescription"])
        return re.match(r"cinerecon \w", str(head.get("SeriesDescription", ""))) is not None
    except Exception:  # as above
        return False


def _new_dataset(now: datetime.datetime) -> "Dataset":
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = now.strftime("%Y%m%d")
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = now.strftime("%H%M%S")
    return dataset


def _describe(dataset: "Dataset", cine: CineImage, scale: float) -> None:
    """What the image is, and why not to trust it; who the patient is stays untold."""
    dataset.Modality = "MR"
    dataset.ImageType = ["DERIVED", "SECONDARY", "M"]
    dataset.DerivationDescription = f"cinerecon {cine.method}, not for diagnostic use"
    dataset.SeriesDescription = f"cinerecon {cine.method}"[:64]
    remarks = "; ".join((*cine.remarks, f"magnitude = stored value x {scale:.9g}"))
    dataset.ImageComments = remarks[:LONGEST_COMMENT]
    dataset.ProtocolName = cine.meta.protocol.replace("\\", "/")[:64]
    dataset.Manufacturer = MANUFACTURER
    dataset.PatientName, dataset.PatientID = "Anonymous", "anonymous"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = DEIDENTIFIED
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""


def _acquired(dataset: "Dataset", header: MrdHeader | None) -> None:
    """How the scan was measured, as far as its header tells."""
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
        dataset.SequenceName = header.sequence.rpartition("\\")[2][:16]
    encoding = header.encodings[0]
    oversampling = max(encoding.encoded.fov_mm[0] / encoding.recon.fov_mm[0], 1.0)
    limit = encoding.limits.get("kspace_encoding_step_1")
    n_lines = encoding.encoded.matrix[1] if limit is None else limit.maximum - limit.minimum + 1
    # frequency rows, frequency columns, phase rows, phase columns: a row of the image runs along the readout
    dataset.AcquisitionMatrix = [round(encoding.encoded.matrix[0] / oversampling), 0, 0, n_lines]
    dataset.InPlanePhaseEncodingDirection = "COL"


def _place(dataset: "Dataset", cine: CineImage, spacing_mm: float) -> None:
    """Pixel size and place. A row of the image runs along read_dir, a column along phase_dir."""
    dataset.PixelSpacing = [f"{size:.8g}" for size in cine.meta.pixel_size_mm]
    dataset.SliceThickness = f"{cine.meta.slice_thickness_mm:.8g}"
    dataset.SpacingBetweenSlices = f"{abs(spacing_mm):.8g}"
    dataset.PositionReferenceIndicator = ""
    geometry, place = cine.meta.geometry, cine.place
    position = "" if geometry is None else geometry.patient_position
    dataset.PatientPosition = position if position in POSITIONS else ""
    if place is None:
        dataset.ImagePositionPatient = dataset.ImageOrientationPatient = None
        return
    corner, read, phase, across = place
    dataset.ImagePositionPatient = [f"{value:.8g}" for value in corner]
    dataset.ImageOrientationPatient = [f"{value:.8g}" for value in (*read, *phase)]
    dataset.SliceLocation = f"{float(corner @ across):.8g}"


def _time(dataset: "Dataset", cine: CineImage, frame: int) -> None:
    """When the frame was measured. The R-R interval is known only where the frames are the whole beat."""
    dataset.TemporalPositionIdentifier = frame + 1
    dataset.NumberOfTemporalPositions = cine.n_frames
    times, interval = cine.meta.frame_times_ms, cine.frame_interval_ms
    dataset.TriggerTime = f"{times[frame]:.8g}" if len(times) == cine.n_frames else None
    if interval is not None:
        dataset.TemporalResolution = f"{interval:.8g}"
    if cine.meta.is_one_beat:
        dataset.CardiacNumberOfImages = cine.n_frames
        if interval is not None:
            dataset.NominalInterval = round(interval * cine.n_frames)


def _pixels(dataset: "Dataset", stored: np.ndarray, white: int) -> None:
    """12 bits, shown from 0 to white. A slope would shrink the window below 1, which the standard forbids."""
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.WindowCenter, dataset.WindowWidth = f"{white / 2:g}", f"{white}"
    dataset.PixelData = stored.astype("<u2").tobytes()
