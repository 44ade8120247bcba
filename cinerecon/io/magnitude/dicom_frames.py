"""Frames of Enhanced MR files, whose headers are converted to those of classic images.

An Enhanced MR file contains all frames of a series. Elements that are at the top level of classic images, e.g. the
position, are stored in functional groups, either shared by all frames or for each frame.
"""

from collections.abc import Iterator
from typing import Any

from cinerecon.io.magnitude.dicom_header import ENHANCED_MR_STORAGE, MR_STORAGE

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
