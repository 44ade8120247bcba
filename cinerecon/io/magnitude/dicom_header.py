"""Headers of DICOM images: selection of MR magnitude images, and their positions and times.

An Enhanced MR file contains all frames of a series. Elements that are at the top level of classic images, e.g. the
position, are stored in functional groups, either shared by all frames or for each frame. The header of each frame is
converted to that of a classic image.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError
from cinerecon.image import QUANTITIES
from cinerecon.io.plausibility import are_orthonormal, thickness_or_default
from cinerecon.io.untrusted import reporting_damage

NOT_MAGNITUDE = {"P", "PHASE", "VELOCITY", "REAL", "R", "IMAGINARY", "I", "PHASE MAP", "VELOCITY MAP"}
"""Values of ImageType of images that are not magnitude images; Philips adds a suffix, e.g. ``P_FFE``."""
NOT_ORIGINAL = {
    *("LOCALIZER", "MOSAIC", "MPR", "MIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE", "REFORMATTED", "SUBTRACTION"),
    *("T1 MAP", "T2 MAP", "T2_STAR MAP", "PARAMETRIC MAP", "SCREEN SAVE", "CSA REPORT", "PERFUSION", "SEGMENTATION"),
    *map(str.upper, QUANTITIES),
}
"""Values of ImageType of images that are not original frames of a cine."""
TIME_OF_DAY = re.compile(r"(\d\d):?(\d\d):?(\d\d(?:\.\d*)?)")
"""Hours, minutes and seconds of a DICOM time."""
GE_IMAGE_KIND = (0x0043, 0x102F)
"""Private element of GE: 0 magnitude, 1 phase, 2 real, 3 imaginary."""
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"
"""Class of the file DICOMDIR, the index of a medium, which contains no images."""
ENHANCED_MR_STORAGE = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
"""Classes of Enhanced MR and of converted classic images; colour images have another class."""
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
MULTI_FRAME = (SHARED, PER_FRAME, "NumberOfFrames")
CLASSIC_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
}
"""Elements of functional groups, and the elements of classic images with the same meaning."""
STEPS = ("MRAcquisitionFrequencyEncodingSteps", "MRAcquisitionPhaseEncodingStepsInPlane")
"""Elements of the acquisition matrix, which is one element of classic images."""


@dataclass(frozen=True, eq=False)
class DicomImage:
    """The header of one magnitude image.

    Attributes
    ----------
    file
        The file.
    header
        All elements except the pixels; those of one frame for an Enhanced MR file.
    position_mm
        Centre of the first pixel (LPS), ``(3,)``.
    directions
        Unit vectors along a row and along a column, ``(2, 3)``.
    is_real_time
        Whether it belongs to a real-time series, in which the trigger times restart with every heartbeat.
    frame
        Index of the image in its file; None if the file contains one image.
    """

    file: Path
    header: Any
    position_mm: NDArray[np.float64]
    directions: NDArray[np.float64]
    is_real_time: bool = False
    frame: int | None = None

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slice."""
        return np.cross(*self.directions)

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def pixel_size_mm(self) -> tuple[float, float]:
        """Distance of adjacent rows and of adjacent columns [mm]."""
        dy, dx = (float(size) for size in self.header.PixelSpacing)
        return dy, dx

    @property
    def thickness_mm(self) -> float:
        """Thickness of the slice [mm]; 1 if it is not in the header."""
        return thickness_or_default(self.number("SliceThickness"))[0]

    @property
    def identity(self) -> tuple[str, ...]:
        """Series, number, times and position, which are the same only for copies of an image."""
        names = ("SeriesInstanceUID", "InstanceNumber", "TriggerTime", "TemporalPositionIdentifier")
        return (*map(self.text, names), str(self.position_mm.tolist()))

    @property
    def time_ms(self) -> float | None:
        """Time after the R wave or, in a real-time series, time of day [ms]; None if unknown."""
        offset = self.number("TemporalPositionTimeOffset")  # [s]
        time = self.acquired_ms if self.is_real_time else self.number("TriggerTime")
        return offset * 1000 if time is None and offset is not None else time

    @property
    def acquired_ms(self) -> float | None:
        """Time of day of the acquisition [ms]; None if unknown."""
        match = TIME_OF_DAY.match(self.text("AcquisitionTime") or self.text("AcquisitionDateTime")[8:])
        if match is None:
            return None
        hours, minutes, seconds = map(float, match.groups())
        return 1000 * (3600 * hours + 60 * minutes + seconds)

    def number(self, name: str) -> float | None:
        """The value of an element as a number; None if it is missing or not a number."""
        try:
            return float(getattr(self.header, name))
        except (AttributeError, TypeError, ValueError):
            return None

    def text(self, name: str) -> str:
        """The value of an element as text; empty if it is missing."""
        try:
            value = getattr(self.header, name, None)
        except ValueError:  # the element has text instead of a number
            return ""
        return "" if value is None else str(value)


def has_dicom_name(path: Path) -> bool:
    """Whether a name is common for DICOM files, which includes UIDs, whose last number looks like a suffix."""
    ending = path.suffix.lower()
    return ending in ("", ".dcm", ".dicom", ".ima") or ending[1:].isdigit()


def read_header(file: Path) -> Any:
    """Read all elements except the pixels.

    Raises
    ------
    FileError
        If the file is damaged.
    """
    import pydicom

    with reporting_damage("the DICOM file is damaged", file):
        return pydicom.dcmread(file, stop_before_pixels=True, force=True)


def why_excluded(header: Any, file: Path) -> str:
    """The reason why a file is not a magnitude image of a cine; empty if it may be one.

    Raises
    ------
    FileError
        If an element is damaged.
    """
    try:
        return _why_no_mr_image(header) or _why_no_magnitude(header) or _why_unreadable(header)
    except (TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the DICOM file is damaged: {error}", where=str(file)) from None


def _why_no_mr_image(header: Any) -> str:
    """The reason if a file is not a single MR image."""
    storage = str(getattr(header, "SOPClassUID", None) or header.file_meta.get("MediaStorageSOPClassUID") or MR_STORAGE)
    if storage == DIRECTORY_STORAGE:
        return "an index of images, DICOMDIR"
    modality = str(getattr(header, "Modality", "") or "MR").upper()
    if int(getattr(header, "NumberOfFrames", None) or 1) > 1 or storage in ENHANCED_MR_STORAGE:
        return "several frames in one file that is not complete Enhanced MR"
    if modality != "MR":
        return f"modality {modality}"
    if int(getattr(header, "SamplesPerPixel", None) or 1) > 1:
        return "colour images"
    return "" if storage == MR_STORAGE else "not MR images (secondary captures, reports or segmentations)"


def _why_no_magnitude(header: Any) -> str:
    """The reason if an image is not an original magnitude image."""
    values = getattr(header, "ImageType", None) or []
    kinds = {str(kind).upper().strip() for kind in ([values] if isinstance(values, str) else values)}
    kinds |= {kind.replace("_", " ") for kind in kinds}
    component = str(getattr(header, "ComplexImageComponent", "") or "MAGNITUDE").upper()
    ge_kind = header[GE_IMAGE_KIND].value if GE_IMAGE_KIND in header else 0
    is_phase = kinds & NOT_MAGNITUDE or any(kind.startswith(("P_", "R_", "I_", "VELOCITY")) for kind in kinds)
    if is_phase or component != "MAGNITUDE" or (isinstance(ge_kind, int) and ge_kind != 0):
        return "phase, real or imaginary images"
    if kinds & NOT_ORIGINAL:
        return f"image type {sorted(kinds & NOT_ORIGINAL)[0].lower()}"
    colours = str(getattr(header, "PhotometricInterpretation", "MONOCHROME2")).upper()
    if colours == "MONOCHROME1":
        return "photometric interpretation MONOCHROME1, in which bright and dark are swapped"
    return "" if colours == "MONOCHROME2" else f"colour images: photometric interpretation {colours}"


def _why_unreadable(header: Any) -> str:
    """The reason if required elements are missing, or the pixels cannot be decompressed."""
    from pydicom.pixels.decoders.base import get_decoder

    needed = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    missing = [name for name in needed if not getattr(header, name, None)]
    if missing:
        return f"no {missing[0]}"
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed:
        return ""
    try:
        is_decodable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_decodable = False
    return "" if is_decodable else f"compressed as {syntax.name}, decompress them first, e.g. with gdcmconv --raw"


def image_of(file: Path, header: Any, frame: int | None = None) -> DicomImage:
    """The image of a file, or of a frame of an Enhanced MR file, that was not excluded by `why_excluded`.

    Raises
    ------
    FileError
        If position, directions or pixel size are invalid.
    """
    try:
        position = np.array([float(value) for value in header.ImagePositionPatient])
        directions = np.array([float(value) for value in header.ImageOrientationPatient]).reshape(2, 3)
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        sizes = [float(size) for size in header.PixelSpacing]
    except (TypeError, ValueError) as error:
        raise FileError(f"position, directions or pixel size are damaged: {error}", where=str(file)) from None
    values = (*position, *directions.ravel(), *sizes)
    if position.shape != (3,) or not np.isfinite(values).all() or not are_orthonormal(directions):
        raise FileError("position or directions of the image are not valid", where=str(file))
    if len(sizes) != 2 or min(sizes) <= 0:
        raise FileError(f"the pixel size {sizes} is not valid", where=str(file))
    return DicomImage(file, header, position, directions, frame=frame)


def is_enhanced(header: Any) -> bool:
    """Whether a header is that of an Enhanced MR file with functional groups for its frames."""
    is_class = str(getattr(header, "SOPClassUID", "")) in ENHANCED_MR_STORAGE
    return is_class and bool(getattr(header, PER_FRAME, None))


def headers_of_frames(header: Any) -> Iterator[Any]:
    """Convert the header of each frame of an Enhanced MR file to that of a classic image.

    The instance number is the number of the frame, counted from 1 in the first file; a series may be stored in several
    files.
    """
    from pydicom.dataset import Dataset

    frames = getattr(header, PER_FRAME)
    first = _number_of_first_frame(header, len(frames))

    common = Dataset()
    common.update({element.tag: element for element in header if element.keyword not in MULTI_FRAME})
    _set(common, "SOPClassUID", MR_STORAGE)
    for groups in getattr(header, SHARED, None) or []:
        _merge(common, groups)
    for number, groups in enumerate(frames, start=first):
        frame = Dataset()
        frame.update(common)
        _merge(frame, groups)
        _set(frame, "InstanceNumber", number)
        frame.file_meta = header.file_meta
        yield frame


def _number_of_first_frame(header: Any, n_frames: int) -> int:
    """The number of the first frame of a file in its series, after those of files with smaller instance numbers."""
    offset, instance = header.get("ConcatenationFrameOffsetNumber"), header.get("InstanceNumber")
    return 1 + int(offset if offset is not None else (int(instance or 1) - 1) * n_frames)


def _merge(target: Any, groups: Any) -> None:
    """Add the elements of functional groups with their classic names; the real world value mapping remains a group.

    Private groups are omitted: some vendors repeat elements in them that differ from those of the standard groups.
    """
    for group in groups:
        if group.VR != "SQ" or len(group.value or []) != 1 or group.tag.is_private:
            continue
        if group.keyword == "RealWorldValueMappingSequence":
            target.add(group)
            continue
        (item,) = group.value
        target.update({element.tag: element for element in item})
        for new, classic in CLASSIC_NAMES.items():
            if new in item and item.get(new) is not None:
                _set(target, classic, item.get(new))
        steps = [item.get(name) for name in STEPS]
        if None not in steps:
            _set(target, "AcquisitionMatrix", [steps[0], 0, 0, steps[1]])


def _set(target: Any, name: str, value: Any) -> None:
    """Set an element without changing the previous one, which is shared by the frames."""
    from pydicom.datadict import dictionary_VR
    from pydicom.dataelem import DataElement
    from pydicom.tag import Tag

    target[name] = DataElement(Tag(name), dictionary_VR(name), value)
