"""Writer of Enhanced MR images: one DICOM file with all slices and frames of a stack.

Values, positions and times are those of classic images (`export.dicom`). They are stored in functional groups, either
shared by all frames or for each frame. Frames are ordered by slice, then by time. TR and flip angle are omitted, since
their functional group requires the specific absorption rate.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cinerecon.image import CineImage, collect_warnings, each
from cinerecon.io.export.dicom_elements import (
    LONGEST_COMMENT,
    MANUFACTURER,
    add_verdict,
    derived_uid,
    describe,
    identify,
    meaning_of_values,
    new_dataset,
    private_block,
    provenance_of_pixels,
    scale_and_white,
    set_acquisition,
    set_date,
    set_geometry,
    set_pixels,
    set_values,
    spacing_and_normal,
    stored_pixels,
)
from cinerecon.io.export.display import display_turns, turned
from cinerecon.io.ismrmrd.header import parse_header
from cinerecon.provenance import Patient, Provenance
from cinerecon.words import printable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

HEART = ("80891009", "SCT", "Heart")
"""Code, coding scheme and meaning of the anatomic region."""
NO_SERIAL_NUMBER = "none"
"""Serial number of the device, which software does not have, but which is required."""
SAFETY_STANDARD = "IEC"
"""Agency of the safety standard, which earlier editions of DICOM require in all images."""
STACK_ID = "1"
VERDICT_GROUP = 0x10
"""Element of the private block with the verdict on a slice, which is a functional group of each frame."""
PIXEL_ELEMENTS = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
)
COMMON_ELEMENTS = ("PatientPosition", "PositionReferenceIndicator", "MagneticFieldStrength")
FRAME_TYPE = ("PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique")
MR_FRAME_TYPE = ("ComplexImageComponent", "AcquisitionContrast")
CONTENT, TRIGGER = "FrameContentSequence", "CardiacSynchronizationSequence"


def write_enhanced_dicom(
    path: Path, stack: list[CineImage], patient: Patient | None = None, provenance: Provenance | None = None
) -> None:
    """Write one stack of slices, anonymous unless a patient is given.

    Parameters
    ----------
    path
        File to write.
    stack
        Slices of equal size, evenly spaced.
    patient
        Identity of the patient.
    provenance
        Origin of the identifiers; None for that of the first slice.
    """
    provenance = provenance or stack[0].provenance or provenance_of_pixels(stack)
    first, now = stack[0], datetime.datetime.now().astimezone()
    scale, white = scale_and_white(stack)
    dataset = new_dataset(provenance, patient or Patient(), first.meta.slice, 1, first.quantity, is_enhanced=True)
    set_date(dataset, patient, now)
    describe(dataset, first, scale)
    identify(dataset, patient, provenance.study)
    _describe_stack(dataset, stack, scale)
    turns = display_turns(stack)
    slices = [turned(cine, turn) for cine, turn in zip(each(stack), turns, strict=True)]
    pixels = np.empty((len(stack), first.n_frames, *slices[0].matrix), np.uint16)
    for number, cine in enumerate(each(slices)):
        pixels[number] = stored_pixels(cine, scale)
    positions = [_position(cine, original, stack) for cine, original in zip(slices, stack, strict=True)]
    shared = positions[0].copy()
    header = parse_header(first.header_xml.encode()) if first.header_xml else None
    set_acquisition(shared, header, is_turned=turns[0].is_swapped)
    set_pixels(shared, pixels, white)
    set_values(shared, first, scale)
    for name in (*PIXEL_ELEMENTS, *COMMON_ELEMENTS):
        if name in shared:
            dataset[name] = shared[name]
    dataset.NumberOfFrames = len(stack) * first.n_frames
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(shared, dataset)]
    dataset.PerFrameFunctionalGroupsSequence = list(_frame_groups(slices, positions))
    _set_dimensions(dataset, has_triggers=_has_triggers(first))
    dataset.save_as(path, enforce_file_format=True)


def _describe_stack(dataset: "Dataset", stack: list[CineImage], scale: float) -> None:
    """Set the elements of the file that do not exist in classic images, or are different for each image."""
    is_velocity, derivation = stack[0].quantity == "velocity", dataset.DerivationDescription
    del dataset.DerivationDescription
    dataset.ImageType = ["DERIVED", "PRIMARY", "CARDIAC", "NONE"]
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ComplexImageComponent = "PHASE" if is_velocity else "MAGNITUDE"
    dataset.AcquisitionContrast = "FLOW_ENCODED" if is_velocity else "UNKNOWN"
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber = MANUFACTURER, NO_SERIAL_NUMBER
    dataset.ContentQualification, dataset.ApplicableSafetyStandardAgency = "RESEARCH", SAFETY_STANDARD
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    dataset.AcquisitionContextSequence = []
    verdicts = (f"slice {cine.meta.slice}: {cine.verdict.remark}" for cine in stack if cine.verdict is not None)
    warnings = (f"warning: {text}" for text in collect_warnings(stack))
    texts = (*stack[0].map_remarks, *verdicts, *warnings, meaning_of_values(stack[0].quantity, scale), derivation)
    remarks = "; ".join(dict.fromkeys(("not for diagnostic use", *texts)))
    dataset.ImageComments = printable(remarks)[:LONGEST_COMMENT]


def _position(cine: CineImage, original: CineImage, stack: list[CineImage]) -> "Dataset":
    """Pixel size, position and orientation of a slice."""
    from pydicom.dataset import Dataset

    position = Dataset()
    set_geometry(position, cine, *spacing_and_normal(original, stack, stack))
    return position


def _group(source: "Dataset", *names: str, **renamed: str) -> "list[Dataset]":
    """A functional group of those elements that have values; ``new="Old"`` renames an element."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for new, old in (*zip(names, names, strict=True), *renamed.items()):
        if source.get(old) not in (None, ""):
            setattr(item, new, source.get(old))
    return [item]


def _shared_groups(shared: "Dataset", dataset: "Dataset") -> "Dataset":
    """The functional groups that are shared by all frames."""
    from pydicom.dataset import Dataset

    groups, region, anatomy = Dataset(), Dataset(), Dataset()
    groups.PixelMeasuresSequence = _group(shared, "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
    groups.PlaneOrientationSequence = _group(shared, "ImageOrientationPatient")
    groups.PixelValueTransformationSequence = _group(shared, "RescaleIntercept", "RescaleSlope", "RescaleType")
    groups.FrameVOILUTSequence = _group(shared, "WindowCenter", "WindowWidth")
    groups.RealWorldValueMappingSequence = shared.RealWorldValueMappingSequence
    groups.MRImageFrameTypeSequence = _group(dataset, *FRAME_TYPE, *MR_FRAME_TYPE, FrameType="ImageType")
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = HEART
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [region], "U"
    groups.FrameAnatomySequence = [anatomy]
    echo = _group(shared, EffectiveEchoTime="EchoTime")
    if echo[0]:
        groups.MREchoSequence = echo
    return groups


def _frame_groups(slices: list[CineImage], positions: "list[Dataset]") -> "Iterator[Dataset]":
    """The functional groups of each frame: dimensions, position, time, and verdict on its slice."""
    from pydicom.dataset import Dataset

    for number, (cine, position) in enumerate(zip(slices, positions, strict=True), start=1):
        verdict = Dataset()
        add_verdict(verdict, cine)
        for frame in range(cine.n_frames):
            groups, content = Dataset(), Dataset()
            content.StackID, content.InStackPositionNumber = STACK_ID, number
            content.TemporalPositionIndex, content.DimensionIndexValues = frame + 1, [1, number, frame + 1]
            groups.FrameContentSequence = [content]
            groups.PlanePositionSequence = _group(position, "ImagePositionPatient")
            _set_time(groups, cine, frame)
            if verdict:
                private_block(groups).add_new(VERDICT_GROUP, "SQ", [verdict])
            yield groups


def _has_triggers(cine: CineImage) -> bool:
    """Whether frame times are relative to the R wave."""
    return cine.meta.is_one_beat and bool(cine.times_ms)


def _set_time(groups: "Dataset", cine: CineImage, frame: int) -> None:
    """Set the time of a frame: trigger delay [ms] for gated scans, time offset [s] otherwise."""
    from pydicom.dataset import Dataset

    if not cine.times_ms:
        return
    item, interval = Dataset(), cine.frame_interval_ms
    if not _has_triggers(cine):
        item.TemporalPositionTimeOffset = cine.times_ms[frame] / 1000
        groups.TemporalPositionSequence = [item]
        return
    item.NominalCardiacTriggerDelayTime = float(cine.times_ms[frame])
    if interval is not None:
        item.RRIntervalTimeNominal = interval * cine.n_frames
    groups.CardiacSynchronizationSequence = [item]


def _set_dimensions(dataset: "Dataset", *, has_triggers: bool) -> None:
    """Set the dimensions of the frames: stack, slice, time."""
    from pydicom.dataset import Dataset
    from pydicom.tag import Tag

    time = ("NominalCardiacTriggerDelayTime", TRIGGER) if has_triggers else ("TemporalPositionIndex", CONTENT)
    organization, items = Dataset(), []
    organization.DimensionOrganizationUID = derived_uid("dimensions", dataset.SOPInstanceUID)
    for element, group in (("StackID", CONTENT), ("InStackPositionNumber", CONTENT), time):
        item = Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(element), Tag(group)
        item.DimensionDescriptionLabel = element
        items.append(item)
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organization], items
