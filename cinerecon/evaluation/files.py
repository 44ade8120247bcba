"""Compare image files with the truth in another file, whichever program wrote them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ShapeError
from cinerecon.evaluation.image_files import ImageSeries, files_in, read_series, read_truth
from cinerecon.evaluation.orientation_check import orientation_warnings
from cinerecon.evaluation.scan_names import labels_of
from cinerecon.evaluation.score import Score, append_scores, read_scores
from cinerecon.evaluation.score_slice import measure_image, measure_ventricle
from cinerecon.evaluation.slice_matching import looks_like_another, match_slices
from cinerecon.evaluation.stored_images import store_image
from cinerecon.io.atomic import hash_file, require_folder
from cinerecon.metrics import DEFAULT_PROFILE, find_heart, find_profile
from cinerecon.metrics.heart import Heart
from cinerecon.metrics.ventricle import Ventricle, locate_ventricle

AS_GIVEN = "as given"
"""Value of the sampling pattern, which is unknown for image files."""


def compare_files(
    recons: Iterable[Path],
    reference: Path,
    *,
    profile: str = DEFAULT_PROFILE,
    output: Path | None = None,
    pictures: int = 0,
    report: Callable[[Score], None] = lambda _: None,
) -> list[Score]:
    """Measure image files against the truth, slice by slice; the method is called as the file is.

    Parameters
    ----------
    recons
        Files of images, see `read_series`.
    reference
        File of the truth, with slices of the same sizes; or the scan that carries it. Slices at the same position are
        compared where both files have positions, else those of the same number.
    profile
        Rules of measuring; of magnitudes, as nothing is known of coils.
    output
        Folder whose ``scores.csv`` gets the scores.
    pictures
        Slices kept there as images, for figures.
    report
        Called with each score.

    Raises
    ------
    FileError
        If a file cannot be read.
    DataError, ShapeError
        If it holds no images, or other slices or sizes than the truth.
    """
    if output:
        require_folder(output)
    truth = read_truth(reference)
    hearts = [find_heart(one.image) for one in truth]
    ventricles = [_ventricle(one) for one in truth]
    known = {score.task for score in read_scores(output)} if output else set()
    scores = []
    for path, label in labels_of(path.absolute() for path in recons).items():
        series = read_series(path)
        numbers = _matched(series, truth, path)
        content = f"{_hash(path)}{_hash(reference)}{profile}{'' if label == path.stem else label}"
        for number, own in sorted(zip(numbers, series, strict=True), key=lambda pair: pair[0]):
            task = hashlib.sha256(f"{content}{number}".encode()).hexdigest()[:20]
            image = own.image
            measures = _measure(image, truth[number], hearts[number], ventricles[number], profile)
            score = Score(
                scan=reference.stem,
                slice=number,
                n_coils=0,
                sampling=AS_GIVEN,
                method=label,
                seconds=float("nan"),
                marks="; ".join(f"{label}: {mark}" for mark in _marks(image, truth, number, profile)),
                subject=reference.stem,
                profile=profile,
                task=task,
                **measures,  # type: ignore[arg-type]
            )
            if output and number < pictures:
                store_image(output, task, image, truth[number].image, CineMeta())
            if output and task not in known:
                append_scores(output, [score])
            scores.append(score)
            report(score)
    return scores


def _measure(
    image: Tensor, truth: ImageSeries, heart: Heart | None, ventricle: Ventricle | None, profile: str
) -> dict[str, float | str | tuple[float, ...]]:
    """The measures of the images of a slice, by the names of `Score`."""
    measures = measure_image(image.abs(), truth.image.abs(), heart, n_coils=0, profile=profile)
    if ventricle is None:
        return measures
    meta = CineMeta(pixel_size_mm=ventricle.seed.pixel_size_mm, geometry=truth.geometry)
    return measures | measure_ventricle(image, ventricle, meta)


def _ventricle(truth: ImageSeries) -> Ventricle | None:
    """The left ventricle of a truth whose pixel size is known."""
    return None if truth.pixel_size_mm is None else locate_ventricle(truth.image, truth.pixel_size_mm)


def _matched(series: Sequence[ImageSeries], truth: Sequence[ImageSeries], path: Path) -> list[int]:
    """The slice of the truth for each slice of images: by position where both have one, else by number.

    Raises
    ------
    DataError
        If no slice of the truth is at the position of a slice of images.
    ShapeError
        If sizes differ.
    """
    matched = match_slices([one.geometry for one in series], [one.geometry for one in truth], str(path))
    numbers = list(range(len(truth))) if matched is None else matched
    found, expected = ([tuple(one.image.shape) for one in some] for some in (series, [truth[n] for n in numbers]))
    if found != expected:
        shown, wanted = (", ".join(map(str, shapes)) for shapes in (found, expected))
        is_swapped = [(n, x, y) for n, y, x in found] == expected
        what = f"images (frames, y, x) are {shown}, those of the truth {wanted}"
        raise ShapeError(what, where=str(path), hint="swap y and x" if is_swapped else "")
    return numbers


def _marks(image: Tensor, truth: Sequence[ImageSeries], number: int, profile: str) -> Iterator[str]:
    """Marks of the score of a slice: departures of the images from the reference in position or orientation."""
    magnitudes = [one.image.abs() for one in truth]
    other = looks_like_another(image.abs(), magnitudes, number)
    if other is not None:
        yield f"slice {number} looks like slice {other} of the truth?"
    else:
        yield from orientation_warnings(image.abs(), magnitudes[number], sees_scale=find_profile(profile).sees_scale)


def _hash(path: Path) -> str:
    """Checksum of a file, or of all files of a folder."""
    return hash_file(path) if path.is_file() else "".join(map(hash_file, files_in(path)))
