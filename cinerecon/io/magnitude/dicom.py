"""Magnitude cines in DICOM files with one image or (Enhanced MR) all frames; a folder may contain several series.

The images of a series are grouped into slices by position and orientation, and those of a slice are ordered in time.
Images that are not magnitude images of a cine are excluded, which is reported as a warning for the cines in the folder.
Ambiguous images, e.g. two images of a slice with the same time, are refused.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import CineReconError, DataError, FileError, NotACineError
from cinerecon.io.export.dicom_elements import MANUFACTURER
from cinerecon.io.magnitude.dicom_header import (
    DicomImage,
    headers_of_frames,
    image_of,
    is_enhanced,
    read_header,
    why_excluded,
)
from cinerecon.io.magnitude.dicom_order import Slice, split_into_slices
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of, plausible_tesla
from cinerecon.io.plausibility import UNKNOWN_TIMES, thickness_or_default, with_plausibility_warnings
from cinerecon.io.untrusted import reason_of
from cinerecon.provenance import hashed_subject

INTERPOLATED = 1.25
"""Ratio of the matrix size to the acquisition matrix above which an image is considered interpolated."""
LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes with losses: JPEG Baseline and Extended, and near-lossless JPEG-LS."""
LOSSY = "the images were compressed with losses"
SERIES = ("PatientID", "StudyInstanceUID", "SeriesNumber", "SeriesInstanceUID")
"""Elements that identify a series."""


def open_dicom(folder: Path, files: Iterable[Path], fewest_frames: int = 2) -> list[MagnitudeImages]:
    """Open the cine series among DICOM files: magnitude images with several times per slice.

    Parameters
    ----------
    folder
        The folder, for messages and metadata.
    files
        The files to read.
    fewest_frames
        1 also accepts a series with one image per slice.

    Raises
    ------
    FileError
        If a file is damaged.
    DataError
        If no series can be read because the temporal order or the position of a slice is ambiguous.
    NotACineError
        If no file contains an image of a cine, and the reasons are known.
    """
    series, remarks = _sort_into_series(files)
    cines: list[tuple[str, list[Slice], list[str]]] = []
    errors: list[CineReconError] = []
    for key, images in sorted(series.items()):
        try:
            slices, own_remarks = split_into_slices(images, folder, fewest_frames)
        except DataError as error:
            errors.append(error)
            continue
        if slices:
            cines.append((images[0].text("SeriesNumber") or key[-1][-6:], slices, own_remarks))
        else:
            remarks += own_remarks
    if not cines and errors:
        raise errors[0]
    if not cines and remarks:
        what, kind = "; ".join(remarks), "folders of DICOM files of other kinds"
        raise NotACineError(what, kind=kind, where=str(folder), hint="DICOM MR images, one per file, or NIfTI")
    remarks += [f"a series is excluded: {error.what}" for error in errors]
    names = _unique_names([number for number, *_ in cines])
    return [
        _series(folder, name, slices, [*remarks, *own_remarks])
        for name, (_, slices, own_remarks) in zip(names, cines, strict=True)
    ]


def _sort_into_series(files: Iterable[Path]) -> tuple[dict[tuple[str, ...], list[DicomImage]], list[str]]:
    """Images by patient and series without duplicates, and remarks on excluded files.

    Anonymised images of different series, or even all images, may have the same UID.
    """
    series: dict[tuple[str, ...], list[DicomImage]] = {}
    remarks: Counter[str] = Counter()
    seen: dict[str, list[tuple[str, ...]]] = {}
    for file, frame, header in _headers(files):
        kind = "files" if frame is None else "frames"
        if reason := why_excluded(header, file):
            remarks[f"{kind} excluded: {{}} ({reason})"] += 1
            continue
        image = image_of(file, header, frame)
        others = seen.setdefault(f"{image.text('SOPInstanceUID') or file} {frame}", [])
        if image.identity in others:
            remarks[f"{kind} excluded: {{}} (copies of other {kind}, same SOP Instance UID)"] += 1
            continue
        if others:
            remarks[f"{kind} with different images that have the same SOP Instance UID: {{}}"] += 1
        others.append(image.identity)
        series.setdefault(tuple(map(image.text, SERIES)), []).append(image)
    return series, [f"DICOM {text.format(n)}" for text, n in remarks.items()]


def _headers(files: Iterable[Path]) -> Iterator[tuple[Path, int | None, Any]]:
    """For each image: file, index of the frame in an Enhanced MR file (otherwise None), and header."""
    for file in sorted(files):
        header = read_header(file)
        if is_enhanced(header):
            try:
                frames = list(headers_of_frames(header))
            except (AttributeError, TypeError, ValueError) as error:
                raise FileError(f"the functional groups are damaged: {error}", where=str(file)) from None
            if len(frames) != int(header.get("NumberOfFrames") or 1):
                what = f"the header describes {len(frames)} frames, but counts {header.get('NumberOfFrames')}"
                raise FileError(what, where=str(file), hint="copy it again")
            yield from ((file, number, frame) for number, frame in enumerate(frames))
        else:
            yield file, None, header


def _unique_names(numbers: Sequence[str]) -> list[str]:
    """Names of the cines in a folder from their series numbers; empty for a single cine."""
    if len(numbers) == 1:
        return [""]
    counts = Counter(numbers)
    running: Counter[str] = Counter()
    names = []
    for number in numbers:
        running[number] += 1
        names.append(f"series{number}" + (f"-{running[number]}" if counts[number] > 1 else ""))
    return names


def _series(folder: Path, name: str, slices: Sequence[Slice], remarks: Sequence[str]) -> MagnitudeImages:
    """The cine of a series, of which the pixels are read on demand."""
    first = slices[0][0]
    measured = sorted(int(n) for n in getattr(first.header, "AcquisitionMatrix", None) or [] if int(n) > 0)
    is_interpolated = len(measured) == 2 and any(
        pixels > INTERPOLATED * points for pixels, points in zip(sorted(first.matrix), measured, strict=True)
    )

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        opened: dict[Path, Any] = {}  # a file with many frames is read once
        pixels = np.stack([_pixels(image, opened) for image in slices[number]])
        return pixels, _meta(folder, number, slices[number], remarks)

    files = tuple(dict.fromkeys(image.file for part in slices for image in part))
    subject = hashed_subject(first.text("PatientID"))
    field_tesla = plausible_tesla(first.number("MagneticFieldStrength"))
    return MagnitudeImages(folder, name, len(slices), subject, is_interpolated, files, read, field_tesla)


def _pixels(image: DicomImage, opened: dict[Path, Any]) -> NDArray[np.float32]:
    """The rescaled pixels of an image, ``(y, x)``; `opened` caches the stored values of files with several frames."""
    stored = opened.get(image.file)
    if stored is None:
        stored = _stored_values(image.file)
    if image.frame is not None:
        opened[image.file] = stored
        stored = stored if stored.ndim == 2 else stored[image.frame]
    slope, intercept = _slope_and_intercept(image.header)
    values: NDArray[np.float32] = stored.astype(np.float32) * slope + intercept
    return values


def _stored_values(file: Path) -> NDArray[Any]:
    """Read the stored values of a file, ``(y, x)`` or ``(frames, y, x)``."""
    import pydicom

    try:
        image = pydicom.dcmread(file, force=True)
        if not hasattr(image.file_meta, "TransferSyntaxUID"):  # a file without a preamble
            image.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            if not image.original_encoding[0]:
                image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        shift = _unused_low_bits(image)
        if shift:
            image.BitsStored += shift
            return np.asarray(image.pixel_array) >> shift
        return np.asarray(image.pixel_array)
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        hint = "decompress the file first, e.g. with gdcmconv --raw" if "decompress" in str(error).lower() else ""
        raise FileError(f"cannot read the pixels: {reason_of(error)}", where=str(file), hint=hint) from None


def _unused_low_bits(image: Any) -> int:
    """Number of bits below the stored ones; older scanners stored 12 bits in the upper bits of 16."""
    high, stored = image.get("HighBit"), image.get("BitsStored")
    if high is None or stored is None or image.file_meta.TransferSyntaxUID.is_compressed:
        return 0
    return max(int(high) + 1 - int(stored), 0)


def _is_lossy(image: DicomImage) -> bool:
    """Whether the pixels were compressed with losses."""
    syntax = getattr(image.header.file_meta, "TransferSyntaxUID", "")
    return image.text("LossyImageCompression") == "01" or syntax in LOSSY_SYNTAXES


def _slope_and_intercept(image: Any) -> tuple[float, float]:
    """Slope and intercept of the stored values.

    For images of this package, these are the real world values, which are the reconstructed magnitude. Real world
    values of other programs may have any unit and are not used.
    """
    if image.get("Manufacturer") == MANUFACTURER and "RealWorldValueMappingSequence" in image:
        (item,) = image.RealWorldValueMappingSequence
        return float(item.RealWorldValueSlope), float(item.RealWorldValueIntercept)
    return float(image.get("RescaleSlope") or 1), float(image.get("RescaleIntercept") or 0)


def _meta(folder: Path, number: int, images: Slice, remarks: Sequence[str]) -> CineMeta:
    """The metadata of a slice, from the headers of its images."""
    first = images[0]
    row, column = first.directions
    (y, x), (dy, dx) = first.matrix, first.pixel_size_mm
    centre = first.position_mm + (x // 2) * dx * row + (y // 2) * dy * column
    times = [image.time_ms for image in images]
    known = [time for time in times if time is not None]
    is_timed = len(known) == len(images) and bool((np.diff(known) > 0).all())
    no_times = [] if is_timed or len(images) == 1 else [UNKNOWN_TIMES]
    thickness_mm, no_thickness = thickness_or_default(first.number("SliceThickness"))
    meta = CineMeta(
        source=str(folder),
        slice=number,
        frame_times_ms=tuple(time - known[0] for time in known) if is_timed else (),
        pixel_size_mm=(dy, dx),
        slice_thickness_mm=thickness_mm,
        geometry=geometry_of(centre, row, column, first.text("PatientPosition")),
        protocol=first.text("SeriesDescription"),
        warnings=(*remarks, *([LOSSY] if any(map(_is_lossy, images)) else []), *no_times, *no_thickness),
        is_real_time=first.is_real_time,
    )
    return with_plausibility_warnings(meta, (y, x), "header")
