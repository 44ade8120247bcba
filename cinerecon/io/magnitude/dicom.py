"""Magnitude cines in DICOM files: one image per file, one or several series per folder.

The images of a series are grouped into slices by position and direction, and the images of a slice are ordered in time.
What is not a magnitude image of a cine is excluded with a remark, which the cines of the folder carry as a warning.
Images that do not determine one cine, e.g. because two of a slice have the same time, are refused.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine import CineMeta
from cinerecon.errors import CineReconError, DataError, FileError, NotACineError
from cinerecon.io.deidentify import hashed_person
from cinerecon.io.magnitude.dicom_header import DicomImage, image_of, is_dicom, read_header, why_excluded
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of, plausible_tesla

__all__ = ["is_dicom", "open_dicom"]

INTERPOLATED = 1.25
"""Pixels over measured points above which an image counts as interpolated."""
SAME_POSITION_MM, SAME_DIRECTION = 0.1, 1e-3
"""Differences of position [mm] and of unit vectors that are rounding: the images show the same slice."""
OVERLAP = 0.25
"""Distance of parallel slices over their thickness below which they are one slice whose position is inconsistent."""
UNEVEN = 1.5
"""Longest interval over the median above which a frame may be missing."""
SPLIT_BY = ("EchoNumbers", "AcquisitionNumber", "InversionTime", "TriggerDelay")
"""Elements that distinguish several images of a slice at the same time."""

Slice = Sequence[DicomImage]


def open_dicom(folder: Path, files: Iterable[Path]) -> list[MagnitudeImages]:
    """The cine series among the DICOM files of a folder: magnitude images with several times per slice.

    Raises
    ------
    FileError
        If a file is damaged.
    DataError
        If the images of a slice have no order in time, or its position is inconsistent, in all series.
    NotACineError
        If all files are excluded, with the reasons.
    """
    series, remarks = _sort_into_series(files)
    cines: list[tuple[str, list[Slice]]] = []
    errors: list[CineReconError] = []
    for uid, images in sorted(series.items()):
        try:
            slices = [part for part in _slices(images, folder) if len(part) > 1]
        except DataError as error:
            errors.append(error)
            continue
        if slices:
            cines.append((images[0].text("SeriesNumber") or uid[-6:], slices))
    if not cines and errors:
        raise errors[0]
    if not cines and not series and remarks:
        hint = "DICOM MR images, one per file, or NIfTI"
        raise NotACineError(
            "; ".join(remarks), kind="folders of DICOM files of other kinds", where=str(folder), hint=hint
        )
    remarks += [f"a series is excluded: {error.what}" for error in errors]
    return [
        _series(folder, name, slices, remarks)
        for name, (_, slices) in zip(_unique_names([number for number, _ in cines]), cines, strict=True)
    ]


def _sort_into_series(files: Iterable[Path]) -> tuple[dict[str, list[DicomImage]], list[str]]:
    """Images by series, each SOP instance once, and remarks on what is excluded."""
    series: dict[str, list[DicomImage]] = {}
    excluded: Counter[str] = Counter()
    seen: set[str] = set()
    for file in sorted(files):
        header = read_header(file)
        reason = why_excluded(header)
        uid = str(getattr(header, "SOPInstanceUID", "") or file)
        if not reason and uid in seen:
            reason = "copies of other files (same SOP Instance UID)"
        seen.add(uid)
        if reason:
            excluded[reason] += 1
        else:
            series.setdefault(str(header.SeriesInstanceUID), []).append(image_of(file, header))
    return series, [f"DICOM files excluded: {n} ({reason})" for reason, n in excluded.items()]


def _unique_names(numbers: Sequence[str]) -> list[str]:
    """Names of the cines of a folder; empty for a single one."""
    if len(numbers) == 1:
        return [""]
    counts = Counter(numbers)
    running: Counter[str] = Counter()
    names = []
    for number in numbers:
        running[number] += 1
        names.append(f"series{number}" + (f"-{running[number]}" if counts[number] > 1 else ""))
    return names


def _slices(images: Slice, folder: Path) -> list[Slice]:
    """Images grouped by slice, along the normal of the first, each slice in the order of time.

    Raises
    ------
    DataError
        If a slice has no order in time, or its position is inconsistent.
    """
    groups: list[list[DicomImage]] = []
    for image in images:
        group = next((group for group in groups if _is_same_slice(group[0], image)), None)
        if group is None:
            groups.append([image])
        else:
            group.append(image)
    _require_separate([group[0] for group in groups], folder)
    normal = images[0].normal
    groups.sort(key=lambda group: float(group[0].position_mm @ normal))
    return [part for group in groups for part in _in_time_order(group, folder)]


def _is_same_slice(a: DicomImage, b: DicomImage) -> bool:
    return (
        a.matrix == b.matrix
        and bool(np.linalg.norm(a.position_mm - b.position_mm) < SAME_POSITION_MM)
        and bool(np.abs(a.directions - b.directions).max() < SAME_DIRECTION)
        and np.allclose(a.pixel_size_mm, b.pixel_size_mm, rtol=1e-3)
    )


def _require_separate(firsts: Slice, folder: Path) -> None:
    """Refuse parallel slices of which one lies inside the other: they are one slice that moved."""
    for n, a in enumerate(firsts):
        for b in firsts[:n]:
            step = b.position_mm - a.position_mm
            is_parallel = a.matrix == b.matrix and np.abs(a.directions - b.directions).max() < SAME_DIRECTION
            is_inside = abs(step @ a.normal) < OVERLAP * a.thickness_mm
            in_plane = float(np.linalg.norm(step - (step @ a.normal) * a.normal))
            if is_parallel and is_inside and in_plane < 2 * a.thickness_mm:
                shift = float(np.linalg.norm(step))
                what = (
                    f"images of one slice differ in position by {shift:.2g} mm, its thickness is {a.thickness_mm:g} mm"
                )
                hint = "give the files of one position apart, each in a folder of its own"
                raise DataError(what, where=f"{folder}, {b.file.name} and {a.file.name}", hint=hint)


def _in_time_order(images: Slice, folder: Path) -> list[Slice]:
    """The images of one slice in the order of time; several cines if an element distinguishes them.

    Raises
    ------
    DataError
        If several images have the same time.
    """
    if len(images) == 1:
        return [images]
    ordered = _ordered(images)
    if ordered is not None:
        return [ordered]
    for name in SPLIT_BY:
        parts: dict[str, list[DicomImage]] = {}
        for image in images:
            parts.setdefault(image.text(name), []).append(image)
        sorted_parts = [_ordered(part) if len(part) > 1 else part for _, part in sorted(parts.items())]
        if len(parts) > 1 and all(part is not None for part in sorted_parts):
            return [part for part in sorted_parts if part is not None]
    what = f"{len(images)} images of one slice have no order in time: several have the same time and number"
    raise DataError(what, where=f"{folder}, e.g. {images[0].file.name}", hint="keep one image per time in the folder")


def _ordered(images: Slice) -> Slice | None:
    """The images in the order of time; None if several have the same time.

    The trigger time says when a frame was measured. Where it is missing, TemporalPositionIdentifier is the order that
    the standard defines; the instance number is a mere counter of files, and the content time comes last.
    """
    for name in ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "ContentTime"):
        values = [image.number(name) for image in images]
        known = [value for value in values if value is not None]
        if len(known) == len(images) == len(set(known)):
            return [image for _, image in sorted(zip(known, images, strict=True), key=lambda item: item[0])]
        if name == "TriggerTime" and len(known) == len(images) and len(set(known)) > 1:
            return None  # each time occurs several times: not one cine
    return None


def _series(folder: Path, name: str, slices: Sequence[Slice], remarks: Sequence[str]) -> MagnitudeImages:
    first = slices[0][0]
    measured = sorted(int(n) for n in getattr(first.header, "AcquisitionMatrix", None) or [] if int(n) > 0)
    is_interpolated = len(measured) == 2 and any(
        pixels > INTERPOLATED * points for pixels, points in zip(sorted(first.matrix), measured, strict=True)
    )

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        pixels = np.stack([_pixels(image.file) for image in slices[number]])
        return pixels, _meta(folder, number, slices[number], remarks)

    files = tuple(image.file for part in slices for image in part)
    subject = hashed_person(first.text("PatientID"))
    field_tesla = plausible_tesla(first.number("MagneticFieldStrength"))
    return MagnitudeImages(folder, name, len(slices), subject, is_interpolated, files, read, field_tesla)


def _pixels(file: Path) -> NDArray[np.float32]:
    import pydicom

    try:
        image = pydicom.dcmread(file, force=True)
        if not hasattr(image.file_meta, "TransferSyntaxUID"):  # a file without a preamble
            image.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            if not image.original_encoding[0]:
                image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        slope, intercept = (
            float(getattr(image, name, default) or default)
            for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        return image.pixel_array.astype(np.float32) * slope + intercept
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        reason = " ".join(str(error).split())
        hint = "decompress the file first, e.g. with gdcmconv --raw" if "decompress" in reason.lower() else ""
        raise FileError(f"cannot read the pixels: {reason[:200]}", where=str(file), hint=hint) from None


def _meta(folder: Path, number: int, images: Slice, remarks: Sequence[str]) -> CineMeta:
    first = images[0]
    row, column = first.directions
    (y, x), (dy, dx) = first.matrix, first.pixel_size_mm
    centre = first.position_mm + (x // 2) * dx * row + (y // 2) * dy * column
    times = [image.time_ms for image in images]
    known = [time for time in times if time is not None]
    is_timed = len(known) == len(images) == len(set(known))
    warnings = [*remarks, *(_time_warnings(known) if is_timed else [])]
    return CineMeta(
        source=str(folder),
        slice=number,
        frame_times_ms=tuple(time - known[0] for time in known) if is_timed else (),
        pixel_size_mm=(dy, dx),
        slice_thickness_mm=first.thickness_mm,
        geometry=geometry_of(centre, row, column, first.text("PatientPosition")),
        protocol=first.text("SeriesDescription"),
        warnings=tuple(warnings),
    )


def _time_warnings(times: Sequence[float]) -> list[str]:
    """A warning where the times of the frames leave a gap."""
    intervals = np.diff(times)
    middle = float(np.median(intervals))
    if len(intervals) < 3 or intervals.max() <= UNEVEN * middle:
        return []
    n = int(intervals.argmax())
    return [f"{intervals[n]:.0f} ms between frames {n} and {n + 1}, elsewhere {middle:.0f} ms: a frame may be missing"]
