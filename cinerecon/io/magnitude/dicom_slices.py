"""Division of the images of a DICOM series into slices, by position, orientation and contrast."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cinerecon.errors import DataError
from cinerecon.io.magnitude.dicom_header import DicomImage
from cinerecon.io.magnitude.dicom_order import Slice, in_time_order, split_by

SAME_POSITION_MM, SAME_DIRECTION = 0.1, 1e-3
"""Differences of position [mm] and of unit vectors up to which images show the same slice."""
OVERLAP = 0.25
"""Ratio of distance to thickness below which parallel slices are considered one slice with inconsistent positions."""
CONTRAST = ("ImageType", "EchoTime", "EchoNumbers", "InversionTime", "FlipAngle", "DiffusionBValue")
"""Elements that are equal in all frames of a cine; images that differ in one of them belong to different cines."""


def split_into_slices(images: Slice, folder: Path, fewest_frames: int = 2) -> tuple[list[Slice], list[str]]:
    """Divide a series into slices, sorted along the normal of the first image, each in temporal order.

    Parameters
    ----------
    images
        The images of a series.
    folder
        The folder, for messages.
    fewest_frames
        1 also accepts a series with one image per slice; if other slices have several images, single images are always
        excluded.

    Returns
    -------
    slices, remarks
        The slices, and warnings about excluded images and uncertain decisions.

    Raises
    ------
    DataError
        If the temporal order or the position of a slice is ambiguous.
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
    slices: list[Slice] = []
    remarks: list[str] = []
    single: list[Slice] = []
    for group in groups:
        for part in _split_by_contrast(group, remarks):
            single += [part] if len(part) == 1 else []
            slices += in_time_order(part, folder, remarks) if len(part) > 1 else []
    if single and slices:
        remarks.append(f"images of a series excluded: {len(single)} (the only time point at their position)")
    elif single and fewest_frames == 1:
        slices = single
    return slices, [*dict.fromkeys(remarks), *_frame_remarks(slices)]


def _is_same_slice(a: DicomImage, b: DicomImage) -> bool:
    """Whether two images have the same matrix, pixel size, position and orientation."""
    return (
        a.matrix == b.matrix
        and bool(np.linalg.norm(a.position_mm - b.position_mm) < SAME_POSITION_MM)
        and bool(np.abs(a.directions - b.directions).max() < SAME_DIRECTION)
        and np.allclose(a.pixel_size_mm, b.pixel_size_mm, rtol=1e-3)
    )


def _require_separate(firsts: Slice, folder: Path) -> None:
    """Refuse parallel slices that overlap almost completely, since they are one slice with inconsistent positions."""
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
                hint = "put the files of each position into a separate folder"
                raise DataError(what, where=f"{folder}, {b.file.name} and {a.file.name}", hint=hint)


def _split_by_contrast(images: Slice, remarks: list[str]) -> list[Slice]:
    """Divide the images of a slice by contrast; a remark about each element that differs is appended."""
    parts = [images]
    for name in CONTRAST:
        finer = [part for images in parts for part in split_by(images, name)]
        if len(finer) > len(parts):
            remarks.append(f"images of a slice differ in {name}: each value is read as a separate cine")
        parts = finer
    return parts


def _frame_remarks(slices: Iterable[Slice]) -> list[str]:
    """Warnings about different or too small numbers of frames, which may be due to missing files."""
    counts = Counter(len(images) for images in slices)
    texts = [f"slices have {' or '.join(map(str, sorted(counts)))} frames: files may be missing"] * (len(counts) > 1)
    for images in slices:
        declared = {number for image in images if (number := image.number("CardiacNumberOfImages")) is not None}
        if len(declared) == 1 and len(images) < max(declared):
            texts.append(f"a slice has {len(images)} frames, its header says {max(declared):.0f}: files may be missing")
    return list(dict.fromkeys(texts))
