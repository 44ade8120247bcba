"""Write images as DICOM: one MR image per slice and frame, anonymous, marked as derived."""

import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from cinerecon.data.image import CineImage, slice_spacing_mm, stacks

WHITE = 4095
"""Stored value of the brightest pixel: 12 bits, as scanners write."""

FILE_PATTERN = "slice*_frame*.dcm"


def write_dicom(folder: Path, cines: list[CineImage]) -> None:
    """Write ``slice00_frame000.dcm`` and so on into a folder: one study, one series per stack of slices.

    Without geometry in the scan, orientation and position are left empty rather than invented.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, frame_of_reference = generate_uid(), generate_uid()
    now = datetime.datetime.now(tz=datetime.UTC)
    scale = max(float(cine.magnitude.max()) for cine in cines) / WHITE or 1.0
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
                _describe(dataset, cine)
                _place(dataset, cine, slice_spacing_mm(stack))
                _time(dataset, cine, frame)
                _pixels(dataset, stored[frame], scale)
                dataset.save_as(folder / f"slice{cine.meta.slice:02d}_frame{frame:03d}.dcm", enforce_file_format=True)
                number += 1


def _new_dataset(now: datetime.datetime) -> Dataset:
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


def _describe(dataset: Dataset, cine: CineImage) -> None:
    """What the image is; who the patient is stays untold."""
    dataset.Modality = "MR"
    dataset.ImageType = ["DERIVED", "SECONDARY", "M"]
    dataset.DerivationDescription = f"cinerecon {cine.method}, not for diagnostic use"
    dataset.SeriesDescription = f"cinerecon {cine.method}"[:64]
    dataset.ProtocolName = cine.meta.protocol[:64]
    dataset.Manufacturer = "cinerecon"
    dataset.PatientName, dataset.PatientID = "Anonymous", "anonymous"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "no patient field is read from the raw scan"
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType = "2D"
    dataset.EchoTime = dataset.RepetitionTime = dataset.EchoTrainLength = None


def _place(dataset: Dataset, cine: CineImage, spacing_mm: float) -> None:
    """Pixel size and place. A row of the image runs along read_dir, a column along phase_dir."""
    dataset.PixelSpacing = [f"{size:.8g}" for size in cine.meta.pixel_size_mm]
    dataset.SliceThickness = f"{cine.meta.slice_thickness_mm:.8g}"
    dataset.SpacingBetweenSlices = f"{abs(spacing_mm):.8g}"
    dataset.PositionReferenceIndicator = ""
    geometry, place = cine.meta.geometry, cine.place
    dataset.PatientPosition = "" if geometry is None else geometry.patient_position
    if place is None:
        dataset.ImagePositionPatient = dataset.ImageOrientationPatient = None
        return
    corner, read, phase, across = place
    dataset.ImagePositionPatient = [f"{value:.8g}" for value in corner]
    dataset.ImageOrientationPatient = [f"{value:.8g}" for value in (*read, *phase)]
    dataset.SliceLocation = f"{float(corner @ across):.8g}"


def _time(dataset: Dataset, cine: CineImage, frame: int) -> None:
    dataset.CardiacNumberOfImages = cine.n_frames
    dataset.TemporalPositionIdentifier = frame + 1
    dataset.NumberOfTemporalPositions = cine.n_frames
    interval = cine.frame_interval_ms
    if interval is None:
        dataset.TriggerTime = None
        return
    dataset.TriggerTime = f"{cine.meta.frame_times_ms[frame]:.8g}"
    dataset.TemporalResolution = f"{interval:.8g}"
    dataset.NominalInterval = round(interval * cine.n_frames)


def _pixels(dataset: Dataset, stored: np.ndarray, scale: float) -> None:
    """12 bits; stored value times ``RescaleSlope`` gives the magnitude back."""
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", f"{scale:.9g}", "US"
    dataset.WindowCenter, dataset.WindowWidth = f"{scale * WHITE / 3:.6g}", f"{scale * WHITE * 2 / 3:.6g}"
    dataset.PixelData = stored.astype("<u2").tobytes()
