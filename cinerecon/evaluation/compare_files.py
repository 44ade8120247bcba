"""Compare image files of any program with the reference in another file.

Slices of images are assigned to slices of the reference by their positions, if both files contain them.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from cinerecon.archives.scan_list import labels_of
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, ShapeError
from cinerecon.evaluation.image_files import ImageSeries, files_in, read_reference, read_series
from cinerecon.evaluation.images import slices_in_figures, store_image
from cinerecon.evaluation.orientation import match_slices, orientation_warnings, oriented_like
from cinerecon.evaluation.reference import Measures, Reference
from cinerecon.evaluation.remarks import frame_remarks, intensity_remarks, pixel_remarks, pixel_size_remarks
from cinerecon.evaluation.score import Score, append_scores, read_scores
from cinerecon.io.atomic import require_folder
from cinerecon.io.checksums import hash_file
from cinerecon.io.output_folder import FolderKind, require_folder_of
from cinerecon.metrics import DEFAULT_PROFILE
from cinerecon.metrics.heart import SQUARE

CORRELATION_MARGIN = 0.05
"""Difference of correlations above which images probably belong to another slice of the reference."""
NEGATIVE_POWER = 0.01
"""Fraction of the power in negative pixels above which real-valued images are not magnitudes."""
MIN_CORRELATION = 0.4
"""Correlation with the reference below which images do not resemble it; zero-filled images at 16x are above 0.8."""
UNIFORM_POWER, VARIED_POWER = 0.01, 0.1
"""Relative standard deviation, over the pixels with signal, of the root of the power over all frames: below the first,
the power is the same in all pixels, as in coil sensitivity maps of unit norm; above the second, as in images."""
AS_GIVEN = "as given"
"""Value of the sampling pattern, which is unknown for image files."""


def more_similar_slice(image: Tensor, references: Sequence[Tensor], number: int) -> int | None:
    """The slice of the reference that is clearly more similar to images ``(frames, y, x)`` than the slice of their
    number; None if there is none.

    Parameters
    ----------
    image
        Magnitudes.
    references
        Magnitudes of each slice; slices of another size are omitted.
    number
        Number of the slice with which the images are compared.
    """
    scores = [_correlation(image, other) if other.shape == image.shape else -1.0 for other in references]
    best = int(np.argmax(scores))
    return best if scores[best] > max(scores[number] + CORRELATION_MARGIN, MIN_CORRELATION) else None


def _correlation(first: Tensor, second: Tensor) -> float:
    a, b = (x.double().ravel() - x.double().mean() for x in (first, second))
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else 0.0


def compare_files(
    recons: Iterable[Path],
    reference: Path,
    *,
    profile: str = DEFAULT_PROFILE,
    fit_scale: bool = False,
    output: Path | None = None,
    pictures: int = 0,
) -> list[Score]:
    """Measure image files against the reference, slice by slice; the name of the file is used as name of the method.

    Parameters
    ----------
    recons
        Files of images, see `read_series`.
    reference
        File of the reference, with slices of the same sizes, or the scan that contains it. Slices at the same position
        are compared if both files have positions, otherwise slices with the same number.
    profile
        Measurement rules, applied to magnitudes because the coils are unknown.
    fit_scale
        Whether the images of each file are multiplied by the factor that fits the reference best, the same for all
        slices; otherwise, images in other units have large errors.
    output
        Folder with the ``scores.csv`` to which the scores are written.
    pictures
        Number of slices, evenly distributed, whose images are stored there, for figures.

    Raises
    ------
    FileError
        If a file cannot be read.
    DataError, ShapeError
        If a file contains no images, or its slices or sizes differ from those of the reference.
    """
    if output:
        require_folder_of(FolderKind.SCORES, output)
        require_folder(output)
    references = read_reference(reference)
    magnitudes = [item.as_reference() for item in references]
    known = {score.task for score in read_scores(output)} if output else set()
    pictured = slices_in_figures(len(references), pictures)
    scores = []
    for path, label in labels_of(path.absolute() for path in recons).items():
        numbers, series = _matched(read_series(path), references, path)
        series = _fitted(series, [references[number] for number in numbers]) if fit_scale else series
        content = f"{_hash(path)}{_hash(reference)}{profile}{'' if label == path.stem else label}{'fitted' * fit_scale}"
        for number, own in sorted(zip(numbers, series, strict=True), key=lambda pair: pair[0]):
            task = hashlib.sha256(f"{content}{number}".encode()).hexdigest()[:20]
            image = own.image
            score = Score(
                scan=reference.stem,
                slice=number,
                n_coils=0,
                sampling=AS_GIVEN,
                method=label,
                seconds=math.nan,
                marks="; ".join(_labelled_marks(label, own, references, number)),
                subject=reference.stem,
                profile=profile,
                task=task,
                **_measure(image.abs(), magnitudes[number], profile, path),  # type: ignore[arg-type]
            )
            if output and number in pictured:
                _store_image(output, task, own, references[number])
            if output and task not in known:
                append_scores(output, [score])
            scores.append(score)
    return scores


def _store_image(output: Path, task: str, own: ImageSeries, reference: ImageSeries) -> None:
    """Store a slice of images and of the reference for figures."""
    size = reference.pixel_size_mm or own.pixel_size_mm or SQUARE
    store_image(output, task, own.image, reference.image, CineMeta(pixel_size_mm=size, geometry=reference.geometry))


def _measure(image: Tensor, reference: Reference, profile: str, path: Path) -> Measures:
    """All measures of magnitudes ``(frames, y, x)``; errors contain the file."""
    try:
        return reference.measure(image, profile)
    except ShapeError as error:
        raise ShapeError(error.what, where=str(path), hint=error.hint) from None


def _matched(
    series: Sequence[ImageSeries], references: Sequence[ImageSeries], path: Path
) -> tuple[list[int], list[ImageSeries]]:
    """The images, and the reference slice of each: by position if both files have positions, otherwise by number.

    Images whose directions are known are oriented like the reference, since other programs transpose or reverse rows
    and columns.

    Raises
    ------
    DataError
        If no slice of the reference is at the position of a slice of images, or images are coil sensitivity maps.
    ShapeError
        If sizes differ.
    """
    matched = match_slices([item.geometry for item in series], [item.geometry for item in references], str(path))
    numbers = list(range(len(references))) if matched is None else matched
    if matched is not None:
        series = [oriented_like(own, references[n].geometry) for own, n in zip(series, numbers, strict=True)]
    actual = [tuple(item.image.shape) for item in series]
    expected = [tuple(references[n].image.shape) for n in numbers]
    if actual != expected:
        shown, required = (", ".join(map(str, dict.fromkeys(shapes))) for shapes in (actual, expected))
        is_swapped = [(n, x, y) for n, y, x in actual] == expected
        what = f"images (frames, y, x) are {shown}, those of the reference {required}"
        raise ShapeError(what, where=str(path), hint="swap y and x" if is_swapped else "")
    for number, own in zip(numbers, series, strict=True):
        if _spread_of_power(own.image) < UNIFORM_POWER and _spread_of_power(references[number].image) > VARIED_POWER:
            what = "the power over all frames is the same in every pixel, as for coil sensitivity maps"
            raise DataError(what, where=f"{path}, slice {number}", hint="give the images of this scan")
    return numbers, list(series)


def _fitted(series: Sequence[ImageSeries], references: Sequence[ImageSeries]) -> list[ImageSeries]:
    """The images multiplied by the factor with which the squared error of all magnitudes is smallest."""
    products, powers = [], []
    for own, reference in zip(series, references, strict=True):
        image = own.image.abs().double()
        products.append(float((image * reference.image.abs()).sum()))
        powers.append(float(image.square().sum()))
    factor = sum(products) / sum(powers) if sum(powers) > 0 else 1.0
    remark = f"multiplied by {factor:.4g} (--fit-scale)"
    return [replace(own, image=factor * own.image, warnings=(*own.warnings, remark)) for own in series]


def _labelled_marks(label: str, images: ImageSeries, references: Sequence[ImageSeries], number: int) -> Iterator[str]:
    """Remarks on a slice of images with their label, and warnings of the reader of the reference."""
    yield from (f"{label}: {mark}" for mark in _marks(images, references, number))
    yield from (f"reference: {text}" for text in references[number].warnings)


def _marks(images: ImageSeries, references: Sequence[ImageSeries], number: int) -> Iterator[str]:
    """Remarks on the score of a slice: warnings of the reader, and systematic deviations from the reference."""
    image = images.image
    yield from images.warnings
    yield from pixel_size_remarks(images.pixel_size_mm, references[number].pixel_size_mm)
    for name, series in (("", image), ("the reference has ", references[number].image)):
        if _is_signed(series):
            yield (
                f"{name}negative values, of which the magnitude is compared: the real part of complex images, or a "
                "velocity?"
            )
    empty = [n for n, frame in enumerate(image) if not frame.any()]
    if empty:
        yield "all frames are empty" if len(empty) == len(image) else f"empty frames: {', '.join(map(str, empty))}"
    if len(empty) == len(image):
        return
    magnitudes = [item.image.abs() for item in references]
    other = more_similar_slice(image.abs(), magnitudes, number)
    if other is not None:
        yield f"slice {number} looks like slice {other} of the reference?"
        return
    own, reference = image.abs(), magnitudes[number]
    yield from pixel_remarks(own, reference)
    warnings = list(orientation_warnings(own, reference))
    yield from warnings
    if any(not text.startswith(("brighter", "darker")) for text in warnings):
        return
    yield from frame_remarks(own, reference)
    yield from intensity_remarks(own, reference)
    correlation = _correlation(own, reference)
    if correlation < MIN_CORRELATION:
        yield f"the images do not resemble the reference, correlation {correlation:.2f}: maps, or a different scan?"


def _spread_of_power(image: Tensor) -> float:
    """Relative standard deviation over pixels of the root of the power over all frames; NaN without signal."""
    norm = image.abs().double().square().sum(0).sqrt()
    inside = norm[norm > 1e-3 * norm.max()]
    return float(inside.std(correction=0) / inside.mean()) if len(inside) else float("nan")


def _is_signed(image: Tensor) -> bool:
    """Whether images are real-valued with negative values that exceed interpolation errors."""
    if image.is_complex():
        return False
    return float(image.clamp(max=0).square().sum()) > NEGATIVE_POWER * float(image.square().sum())


def _hash(path: Path) -> str:
    """Checksum of a file, or of all files of a folder."""
    return hash_file(path) if path.is_file() else "".join(map(hash_file, files_in(path)))
