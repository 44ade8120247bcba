"""The score of one method on one slice, and ``scores.csv``, to which scores are appended."""

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from cinerecon.errors import FileError
from cinerecon.io.atomic import is_cut_short
from cinerecon.io.csv_file import append_csv, write_csv
from cinerecon.metrics import DEFAULT_PROFILE

SCORES = "scores.csv"
FRAMES = "frames.csv"
AREAS = ("area_mm2", "reference_area_mm2")
"""Columns with the area of the ventricle in ``frames.csv``, empty if no ventricle is found."""
HASH = "sha256"
"""Last column of a row: hash of the other columns, by which truncated or edited rows are detected."""


@dataclass(frozen=True)
class Score:
    """The score of a method on a slice with a sampling pattern.

    Attributes
    ----------
    scan, slice, n_coils
        Scan, slice number and number of coils.
    sampling, method
        Sampling pattern and method.
    psnr, ssim, nmse, mse
        Measures according to the profile [dB, 1, 1, square of the scale].
    seconds
        Wall time of the reconstruction only [s].
    marks
        Remarks on deviations from a measured scan, e.g. a simulated phase, separated by semicolons.
    ssim_fixed
        SSIM with a data range of 1, if the profile includes it.
    hfen
        High-frequency error norm of the magnitude.
    frc_rate
        Percentage of patches whose Fourier ring correlation with the reference indicates a hallucination, see
        `metrics.frc`; NaN if the image is too small.
    heart_psnr, heart_ssim, heart_nmse
        Measures of the magnitude in the box around the heart, with the data range of the whole field of view [dB, 1,
        1]. These and all measures up to ``border_sharpness`` are NaN if no heart is found in the reference.
    xt_ssim, sharpness
        In this box: SSIM of planes of one axis and time; steepness of temporal edges relative to the reference.
    diastolic_area, systolic_area, area_change
        Errors of the blood pool [%, %, percentage points], see `metrics.area_agreement`.
    border_sharpness
        Sharpness of the endocardial border relative to the reference, see `metrics.ventricle`.
    heart_frc_rate
        As ``frc_rate``, for patches centred in the box.
    acceleration
        Number of k-space points over number of sampled points, within the extent that the scan covers.
    memory_mb
        Peak memory of the reconstruction, without the memory that was in use before [MB].
    n_parameters
        Number of learned parameters of the method, without those of the method for its initial image.
    n_threads, device
        Number of threads, and device on which the method ran.
    subject
        Identifier shared by the scans of a subject; the name of the scan if the subject is unknown.
    profile, data_range, crop
        Measurement rules: name, range of the compared values, and measured part of the image.
    ventricle_mm
        Centre of the ventricle [mm] perpendicular to the slice, along y and along x; empty without ventricle or
        geometry.
    frame_area, frame_reference_area
        Area of the ventricle in each frame of image and reference [mm^2]; empty if none is found in the reference.
    frame_psnr, frame_ssim, frame_nmse
        Measures of the magnitude of each frame over the full field of view, with the data range of the whole series.
    task
        Hash of everything that determines the result: scan, slice, sampling, seed, method with its weights, profile.
    """

    scan: str
    slice: int
    n_coils: int
    sampling: str
    method: str
    psnr: float
    ssim: float
    nmse: float
    seconds: float
    marks: str = ""
    mse: float = math.nan
    ssim_fixed: float = math.nan
    hfen: float = math.nan
    frc_rate: float = math.nan
    heart_psnr: float = math.nan
    heart_ssim: float = math.nan
    heart_nmse: float = math.nan
    xt_ssim: float = math.nan
    sharpness: float = math.nan
    diastolic_area: float = math.nan
    systolic_area: float = math.nan
    area_change: float = math.nan
    heart_frc_rate: float = math.nan
    border_sharpness: float = math.nan
    acceleration: float = math.nan
    memory_mb: float = math.nan
    n_parameters: int = 0
    n_threads: int = 1
    device: str = "cpu"
    subject: str = ""
    profile: str = DEFAULT_PROFILE
    data_range: float = math.nan
    crop: str = ""
    ventricle_mm: tuple[float, ...] = ()
    frame_area: tuple[float, ...] = ()
    frame_reference_area: tuple[float, ...] = ()
    frame_psnr: tuple[float, ...] = ()
    frame_ssim: tuple[float, ...] = ()
    frame_nmse: tuple[float, ...] = ()
    task: str = ""

    @property
    def group(self) -> tuple[str, int]:
        """Sampling and number of coils, by which results are tabulated."""
        return self.sampling, self.n_coils

    @property
    def case(self) -> tuple[str, int, int, str]:
        """Key of the case on which methods are compared: scan, slice, coils, sampling."""
        return self.scan, self.slice, self.n_coils, self.sampling


T = TypeVar("T")
K = TypeVar("K")


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The items grouped by a key; keys and items are in the order of their first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def coils_in_words(n_coils: int) -> str:
    """The number of coils as text; 0 means unknown."""
    return {0: "coils unknown", 1: "single-coil"}.get(n_coils, f"{n_coils} coils")


NAMES = [field.name for field in fields(Score)]
RENAMED = {"person": "subject", "frame_true_area": "frame_reference_area"}
"""Former names of columns, which can still be read, with the present names."""


def read_scores(folder: Path) -> list[Score]:
    """The scores of a folder, see `iterate_scores`."""
    return list(iterate_scores(folder))


def iterate_scores(folder: Path) -> Iterator[Score]:
    """Iterate over the scores of a folder in order; incomplete or edited rows are omitted.

    Raises
    ------
    FileError
        If the file cannot be read, or was written by another version of the program.
    """
    path = folder / SCORES
    if not path.exists():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            columns = [RENAMED.get(name, name) for name in next(reader, ())]
            if columns and columns != [*NAMES, HASH]:
                raise FileError(
                    "the scores in this file have different columns", where=str(path), hint="choose another folder"
                )
            for row in reader:
                if len(row) == len(columns) and row[-1] == _hash(row[:-1]):
                    yield _parse(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"cannot read the scores: {error}", where=str(path)) from None


def count_earlier_scores(folder: Path, scores: Iterable[Score]) -> int:
    """Number of scores in a folder with the same scan, slice, sampling and method as the given ones, but another task.

    These are results with another seed, other settings or weights, another profile, or images that have since changed.
    """
    tasks, results = set(), set()
    for score in scores:
        tasks.add(score.task)
        results.add((*score.case, score.method))
    others = (score for score in iterate_scores(folder) if score.task not in tasks)
    return sum((*score.case, score.method) in results for score in others)


def append_scores(folder: Path, scores: Iterable[Score]) -> None:
    """Append rows to ``scores.csv``; when this returns, they are complete on disk."""
    append_csv(folder / SCORES, [*NAMES, HASH], [[*row, _hash(row)] for row in map(_texts, scores)])


def rewrite_scores(folder: Path, scores: Iterable[Score]) -> None:
    """Replace ``scores.csv`` atomically."""
    rows = map(_texts, scores)
    write_csv(folder / SCORES, [*NAMES, HASH], ([*row, _hash(row)] for row in rows))


def repair_scores(folder: Path) -> None:
    """Remove an incomplete row after an interruption, since its quotes could enclose the next row."""
    path = folder / SCORES
    if path.exists() and is_cut_short(path):
        rewrite_scores(folder, read_scores(folder))


def write_frames(folder: Path, scores: Iterable[Score]) -> Path:
    """Write ``frames.csv``: one line per frame of each score."""
    header = ("scan", "slice", "n_coils", "sampling", "method", "frame", "psnr", "ssim", "nmse", *AREAS)
    rows: list[list[Any]] = []
    for score in scores:
        n = len(score.frame_psnr)
        areas = zip(score.frame_area or [""] * n, score.frame_reference_area or [""] * n, strict=True)
        frames = zip(score.frame_psnr, score.frame_ssim, score.frame_nmse, *zip(*areas, strict=True), strict=True)
        rows += [[*score.case, score.method, number, *values] for number, values in enumerate(frames)]
    write_csv(folder / FRAMES, header, rows)
    return folder / FRAMES


def _texts(score: Score) -> list[str]:
    """One cell per field; numbers are written with all digits."""
    values = [getattr(score, name) for name in NAMES]
    return [" ".join(repr(float(number)) for number in v) if isinstance(v, tuple) else str(v) for v in values]


def _parse(row: Sequence[str]) -> Score:
    return Score(*(read(text) for read, text in zip(_READERS, row, strict=False)))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


_READERS: list[Callable[[str], Any]] = [
    field.type if field.type in (int, float, str) else _numbers for field in fields(Score)
]
"""Functions that parse the cells of a row."""


def _hash(texts: list[str]) -> str:
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:16]
