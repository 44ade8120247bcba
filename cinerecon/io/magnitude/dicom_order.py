"""Division of the images of a DICOM series into slices, and the temporal order of the images of a slice.

Images are divided by position, orientation and contrast. The frames of a gated cine are ordered by trigger time. In a
real-time series, trigger times restart with every heartbeat, and in repeated measurements of a cine with every
measurement; this is recognised by the order in which the images were acquired or numbered.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from cinerecon.errors import DataError
from cinerecon.io.magnitude.dicom_header import DicomImage
from cinerecon.words import counted

REPEATS = ("AcquisitionNumber", "TriggerDelay")
"""Elements that may distinguish several cines of a slice, or number the frames of one cine."""
LONGEST_RR_MS = 2000.0
"""Pause above which images belong to separate measurements [ms]; a real-time series has no pauses."""
MAX_STEP_ERROR, MIN_EQUAL_STEPS = 0.2, 0.8
"""Largest relative difference between the steps of acquisition time and trigger time in a real-time series, and
smallest fraction of steps that do not exceed it."""
FEWEST_IMAGES_OF_A_BEAT = 3
"""Smallest mean number of images between two restarts of the trigger time; in random order, there are about two."""
MIN_INTERVAL_RATIO = 0.5
"""Ratio of the shortest to the mean interval below which trigger times are from several heartbeats."""
SAME_POSITION_MM, SAME_DIRECTION = 0.1, 1e-3
"""Differences of position [mm] and of unit vectors up to which images show the same slice."""
OVERLAP = 0.25
"""Ratio of distance to thickness below which parallel slices are considered one slice with inconsistent positions."""
CONTRAST = ("ImageType", "EchoTime", "EchoNumbers", "InversionTime", "FlipAngle", "DiffusionBValue")
"""Elements that are equal in all frames of a cine; images that differ in one of them belong to different cines."""


Slice = Sequence[DicomImage]


def in_time_order(images: Slice, folder: Path, remarks: list[str]) -> list[Slice]:
    """Sort the images of a slice in time; the result contains several cines if the slice was measured repeatedly.

    Parameters
    ----------
    images
        The images of a slice.
    folder
        The folder, for messages.
    remarks
        Warnings are appended to this list.

    Raises
    ------
    DataError
        If several images have the same time, or their elements are contradictory.
    """
    ordered, by = _ordered(images)
    for name in REPEATS:
        parts = [_ordered(part)[0] for part in split_by(images, name) if len(part) > 1]
        is_whole = len(parts) > 1 and sum(map(len, parts)) == len(images)
        if is_whole and all(parts) and (not ordered or _are_interleaved(parts)):
            remarks.append(f"several cines of a slice, by {name}")
            return list(parts)
    if all(image.number("TriggerTime") is not None for image in images):
        measurements = _split_by_pauses(images)
        if measurements:
            remarks.append("several cines of a slice, by AcquisitionTime: the trigger times restart after a pause")
            return [cine for part in measurements for cine in in_time_order(part, folder, remarks)]
        real_time, by_element = _real_time_order(images)
        if real_time:
            remarks.append(
                "the trigger times restart with every heartbeat: these are real-time images, in the order of "
                f"{by_element}"
            )
            return [real_time]
    if not ordered:
        what = f"{len(images)} images of one slice have no temporal order: several have the same time and number"
        hint = "keep one image per time in the folder"
        raise DataError(what, where=f"{folder}, e.g. {images[0].file.name}", hint=hint)
    if by == "TriggerTime":
        remarks += _contradictions(ordered, folder)
        return [ordered]
    _require_agreement(ordered, by, folder)
    if by in ("InstanceNumber", "ContentTime"):
        remarks.append(f"the order of the images is that of {by}")
    return [ordered]


def _require_agreement(ordered: Slice, by: str, folder: Path) -> None:
    """Check that the order by an element agrees with the trigger times if only some images have one.

    Raises
    ------
    DataError
        If the trigger times decrease more often than they do in a real-time series.
    """
    known = [time for image in ordered if (time := image.number("TriggerTime")) is not None]
    if FEWEST_IMAGES_OF_A_BEAT * (1 + int((np.diff(known) < 0).sum())) > len(known) > 0 and known != sorted(known):
        lacking = counted(len(ordered) - len(known), "image")
        what = f"the order of {by} contradicts the trigger times; {lacking} without a trigger time"
        raise DataError(what, where=f"{folder}, e.g. {ordered[0].file.name}", hint="remove the images without a time")


def split_by(images: Slice, name: str) -> list[Slice]:
    """Group images by the value of an element."""
    parts: dict[str, list[DicomImage]] = {}
    for image in images:
        number = image.number(name)
        parts.setdefault(image.text(name) if number is None else f"{number:.2f}", []).append(image)
    return [parts[value] for value in sorted(parts)]


def _ordered(images: Slice) -> tuple[Slice, str]:
    """The images in temporal order, and the element that determines it; no images if several have the same time.

    The first element that distinguishes all images is used: the trigger time, TemporalPositionIdentifier, which the
    standard defines for this purpose, the instance number, which only numbers files, or the content time.
    """
    for name in ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber", "ContentTime"):
        ordered = _sorted_by(images, name)
        if ordered:
            return ordered, name
        values = {image.number(name) for image in images}
        if name == "TriggerTime" and None not in values and len(values) > 1:
            return [], ""  # some times occur repeatedly: more than one cine
    return [], ""


def _sorted_by(images: Slice, name: str) -> Slice:
    """The images sorted by a numeric element; empty if it is missing or not unique."""
    values = [image.number(name) for image in images]
    known = [value for value in values if value is not None]
    if not len(known) == len(images) == len(set(known)):
        return []
    return [image for _, image in sorted(zip(known, images, strict=True), key=lambda item: item[0])]


def _triggers(images: Slice) -> list[float]:
    """The trigger times [ms]; 0 if one is missing."""
    return [image.number("TriggerTime") or 0.0 for image in images]


def _are_interleaved(parts: Sequence[Slice]) -> bool:
    """Whether the ranges of trigger times of two parts overlap, as in repetitions of a cine."""
    ranges = sorted((min(times), max(times)) for times in map(_triggers, parts))
    return any(second[0] <= first[1] for first, second in pairwise(ranges))


def _split_by_pauses(images: Slice) -> list[Slice]:
    """The repeated measurements of a cine, which are separated by pauses; empty if there is only one."""
    times = [image.acquired_ms for image in images]
    known = [time for time in times if time is not None]
    if len(known) < len(images):
        return []
    order = np.argsort(known, kind="stable")
    pauses = np.flatnonzero(np.diff(np.array(known)[order]) > LONGEST_RR_MS) + 1
    parts = [[images[i] for i in part] for part in np.split(order, pauses)]
    is_repeated = len(parts) > 1 and min(map(len, parts)) > 1 and _are_interleaved(parts)
    return list(parts) if is_repeated else []


def _real_time_order(images: Slice) -> tuple[Slice, str]:
    """The images of a real-time series in temporal order, and the element that determines it; empty if gated."""
    times = [image.acquired_ms for image in images]
    known = [time for time in times if time is not None]
    if len(known) == len(set(known)) == len(images):
        by_time = [images[i] for i in np.argsort(known)]
        if _starts_again(by_time, fewest_images=2) and _has_equal_steps(by_time, sorted(known)):
            return [replace(image, is_real_time=True) for image in by_time], "AcquisitionTime"
    by_position = _sorted_by(images, "TemporalPositionIdentifier")
    by_number = _sorted_by(images, "InstanceNumber")
    is_confirmed = not by_number or _starts_again(by_number)
    if by_position and is_confirmed and _starts_again(by_position):
        return [replace(image, is_real_time=True) for image in by_position], "TemporalPositionIdentifier"
    return [], ""


def _starts_again(images: Slice, fewest_images: int = FEWEST_IMAGES_OF_A_BEAT) -> bool:
    """Whether the trigger times of images in the given order increase and restart with each heartbeat.

    This is false for an order that is not related to time, or that begins in the middle of a single heartbeat.
    """
    times = np.array(_triggers(images))
    starts = np.flatnonzero(np.diff(times) <= 0) + 1
    if not len(starts) or len(images) < fewest_images * (len(starts) + 1):
        return False
    return not (len(starts) == 1 and times[starts[0] :].max() < times[: starts[0]].min())


def _has_equal_steps(images: Slice, acquired_ms: Sequence[float]) -> bool:
    """Whether trigger time and acquisition time increase by the same steps within heartbeats."""
    steps, acquired = np.diff(_triggers(images)), np.diff(acquired_ms)
    is_equal = np.abs(steps - acquired) <= MAX_STEP_ERROR * acquired
    return float(is_equal[steps > 0].mean()) >= MIN_EQUAL_STEPS


def _contradictions(ordered: Slice, folder: Path) -> list[str]:
    """A remark if the order of instance numbers contradicts that of the trigger times.

    Raises
    ------
    DataError
        If the trigger times are apparently from several heartbeats or measurements.
    """
    by_number = _sorted_by(ordered, "InstanceNumber")
    if not by_number or not _starts_again(by_number):
        return []
    intervals = np.diff(_triggers(ordered))
    if intervals.min() < MIN_INTERVAL_RATIO * intervals.mean():
        what = (
            "in the order of InstanceNumber, the trigger times of a slice restart: several heartbeats or measurements"
        )
        hint = "put the images of each into a separate folder"
        raise DataError(what, where=f"{folder}, e.g. {ordered[0].file.name}", hint=hint)
    return ["InstanceNumber contradicts the trigger times, by which the images of a slice are ordered"]


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
