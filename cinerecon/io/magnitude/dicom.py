"""Magnitude cines in DICOM files: one image per file, a series per folder or several."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine import CineMeta
from cinerecon.errors import FileError, UnsupportedError
from cinerecon.io.deidentify import hashed_person
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of

INTERPOLATED = 1.25
"""Pixels over measured points beyond which an image counts as interpolated."""


def is_dicom(path: Path) -> bool:
    """Whether a file carries the signature of DICOM."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def open_dicom(folder: Path, files: list[Path]) -> list[MagnitudeImages]:
    """The cine series among the DICOM files of a folder: magnitude images with several times at one place.

    Raises
    ------
    FileError
        If a file is damaged.
    UnsupportedError
        If a file holds several frames (enhanced DICOM).
    """
    series: dict[str, list[Any]] = {}
    for file in sorted(files):
        head = _dicom_head(file)
        if head is not None:
            series.setdefault(str(head.SeriesInstanceUID), []).append((file, head))
    cines = []
    for uid, members in sorted(series.items()):
        slices = _dicom_slices(members)
        if slices:
            number = str(getattr(members[0][1], "SeriesNumber", "") or uid[-6:])
            cines.append((number, slices))
    several = len(cines) > 1
    return [_dicom_series(folder, f"series{number}" if several else "", slices) for number, slices in cines]


def _dicom_head(file: Path) -> Any:
    """The header of a magnitude image; None for anything else that is no image of a cine."""
    import pydicom

    try:
        head = pydicom.dcmread(file, stop_before_pixels=True)
    except Exception as error:  # whatever the parser trips over in bytes that may be anything
        raise FileError(f"the DICOM file is damaged: {error}", where=str(file)) from None
    if int(getattr(head, "NumberOfFrames", 1) or 1) > 1:
        what = f"one DICOM file with {head.NumberOfFrames} frames (enhanced MR) is not read"
        raise UnsupportedError(what, where=str(file), hint="convert it to NIfTI, or to one file per image")
    kinds = {str(kind).upper() for kind in getattr(head, "ImageType", [])}
    needed = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows")
    is_image = all(getattr(head, name, None) is not None for name in needed)
    return None if not is_image or kinds & {"P", "PHASE", "VELOCITY", "REAL", "IMAGINARY"} else head


def _dicom_slices(members: list[Any]) -> list[list[Any]]:
    """Files and headers grouped by place, in the order of position; only places with several times."""
    places: dict[tuple[float, ...], list[Any]] = {}
    for file, head in members:
        key = (*head.ImagePositionPatient, *head.ImageOrientationPatient, head.Rows, head.Columns)
        places.setdefault(tuple(round(float(value), 2) for value in key), []).append((file, head))
    slices = [sorted(group, key=lambda item: _dicom_order(item[1])) for group in places.values() if len(group) > 1]
    return sorted(slices, key=lambda group: _along(group[0][1]))


def _dicom_order(head: Any) -> tuple[float, int]:
    return float(getattr(head, "TriggerTime", None) or 0), int(getattr(head, "InstanceNumber", None) or 0)


def _along(head: Any) -> float:
    row, column = np.split(np.array(head.ImageOrientationPatient, float), 2)
    return float(np.array(head.ImagePositionPatient, float) @ np.cross(row, column))


def _dicom_series(folder: Path, name: str, slices: list[list[Any]]) -> MagnitudeImages:
    first = slices[0][0][1]
    measured = [int(n) for n in getattr(first, "AcquisitionMatrix", None) or [] if int(n) > 0]
    stored = sorted((int(first.Rows), int(first.Columns)))
    is_interpolated = len(measured) == 2 and any(
        pixels > INTERPOLATED * points for pixels, points in zip(stored, sorted(measured), strict=True)
    )

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        pixels = np.stack([_dicom_pixels(file) for file, _ in slices[number]])
        return pixels, _dicom_meta(folder, number, [head for _, head in slices[number]])

    files = tuple(file for group in slices for file, _ in group)
    person = hashed_person(str(getattr(first, "PatientID", "") or ""))
    return MagnitudeImages(folder, name, len(slices), person, is_interpolated, files, read)


def _dicom_pixels(file: Path) -> NDArray[np.float32]:
    import pydicom

    try:
        image = pydicom.dcmread(file)
        slope, intercept = (
            float(getattr(image, name, d) or d) for name, d in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
        return image.pixel_array.astype(np.float32) * slope + intercept
    except Exception as error:  # as above
        raise FileError(f"cannot read the pixels: {error}", where=str(file)) from None


def _dicom_meta(folder: Path, number: int, heads: list[Any]) -> CineMeta:
    head = heads[0]
    row, column = np.split(np.array(head.ImageOrientationPatient, float), 2)
    dy, dx = (float(size) for size in head.PixelSpacing)
    corner = np.array(head.ImagePositionPatient, float)
    centre = corner + (int(head.Columns) // 2) * dx * row + (int(head.Rows) // 2) * dy * column
    times = [_dicom_order(h)[0] for h in heads]
    return CineMeta(
        source=str(folder),
        slice=number,
        frame_times_ms=tuple(time - times[0] for time in times) if len(set(times)) == len(times) else (),
        pixel_size_mm=(dy, dx),
        slice_thickness_mm=float(getattr(head, "SliceThickness", None) or 1.0),
        geometry=geometry_of(centre, row, column, str(getattr(head, "PatientPosition", "") or "")),
        protocol=str(getattr(head, "SeriesDescription", "") or ""),
    )
