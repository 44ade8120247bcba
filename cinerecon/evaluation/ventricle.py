"""Function of the left ventricle as in clinical reports: areas in slices, volumes and ejection fraction of stacks.

Agreement with the reference is reported as bias and limits of agreement (Bland, Altman 1986,
doi:10.1016/S0140-6736(86)90837-8). Departs from the paper in: with several slices or stacks of one subject, differences
are not independent, and the limits are those of single measurements without a correction for this dependence.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cinerecon.evaluation.score import Score, coils_in_words, grouped
from cinerecon.evaluation.summary import LIMITS
from cinerecon.evaluation.tables import Cell, Table, show_difference

MIN_SLICES = 3
"""Smallest number of slices of a stack for which a volume is computed."""
MAX_SHIFT_MM = 15.0
"""In-plane distance between the centres in adjacent slices above which they are different structures [mm]."""
MIN_POINTS = 3
"""Smallest number of measurements for limits of agreement."""
VOLUME_QUANTITIES = ("EDV [ml]", "ESV [ml]", "EF [%]")
AREA_QUANTITIES = ("diastolic area [mm²]", "systolic area [mm²]", "area change [%]")


@dataclass(frozen=True)
class VentricularFunction:
    """Function of a ventricle in a slice or stack, measured in image and reference.

    Attributes
    ----------
    scan, sampling, n_coils, method
        Scan, sampling pattern, number of coils, method.
    n_slices
        Number of slices in which it was measured.
    curve, reference_curve
        Area [mm^2] or volume [ml] in each frame.
    is_volume
        Whether the curves are volumes.
    slice
        Number of the slice; None for a volume.
    """

    scan: str
    sampling: str
    n_coils: int
    method: str
    n_slices: int
    curve: tuple[float, ...]
    reference_curve: tuple[float, ...]
    is_volume: bool
    slice: int | None = None

    @property
    def pairs(self) -> dict[str, tuple[float, float]]:
        """Pairs (image, reference) of the largest and smallest value, and of the change in percent of the largest."""
        names = VOLUME_QUANTITIES if self.is_volume else AREA_QUANTITIES
        image, reference = _extremes(self.curve), _extremes(self.reference_curve)
        return {name: (a, b) for name, a, b in zip(names, image, reference, strict=True)}


def _extremes(curve: Sequence[float]) -> tuple[float, float, float]:
    """The largest and the smallest value, and their difference in percent of the largest."""
    largest, smallest = max(curve), min(curve)
    return largest, smallest, 100 * (1 - smallest / largest) if largest > 0 else math.nan


def slice_functions(scores: Iterable[Score]) -> list[VentricularFunction]:
    """Areas of each slice in which a ventricle was found."""
    return [
        VentricularFunction(
            s.scan, s.sampling, s.n_coils, s.method, 1, s.frame_area, s.frame_reference_area, False, s.slice
        )
        for s in scores
        if s.frame_reference_area
    ]


def stack_functions(scores: Iterable[Score]) -> list[VentricularFunction]:
    """Volumes of each scan with several short-axis slices: sums of areas times slice distances.

    In each scan, the longest sequence of slices with adjacent centres is used.
    """
    located = (score for score in scores if score.frame_reference_area and score.ventricle_mm)
    scans = grouped(located, lambda score: (score.scan, *score.group, score.method))
    functions = []
    for key, members in scans.items():
        run = _longest_run(sorted(members, key=lambda score: score.ventricle_mm[0]))
        if len(run) < MIN_SLICES or len({len(score.frame_area) for score in run}) > 1:
            continue
        widths = _widths([score.ventricle_mm[0] for score in run])
        curves = [
            tuple((np.array([getattr(score, name) for score in run]).T @ widths / 1000).tolist())
            for name in ("frame_area", "frame_reference_area")
        ]
        functions.append(VentricularFunction(*key, len(run), curves[0], curves[1], True))
    return functions


def _longest_run(scores: Sequence[Score]) -> list[Score]:
    """The longest sequence of adjacent slices with centres close to each other; each position is used once."""
    runs: list[list[Score]] = []
    for score in scores:
        if runs:
            step = np.subtract(score.ventricle_mm, runs[-1][-1].ventricle_mm)
            if abs(step[0]) < 0.1:
                continue
            if math.hypot(step[1], step[2]) <= MAX_SHIFT_MM:
                runs[-1].append(score)
                continue
        runs.append([score])
    return max(runs, key=len, default=[])


def _widths(positions: Sequence[float]) -> np.ndarray:
    """Thickness of each slice [mm]: half the distances to both neighbours; beyond the ends, the median distance."""
    steps = np.diff(positions)
    typical = float(np.median(steps))
    padded = np.concatenate([[typical], steps, [typical]])
    return np.asarray((padded[:-1] + padded[1:]) / 2)


@dataclass(frozen=True)
class Limits:
    """Bias and limits of agreement of a quantity.

    Attributes
    ----------
    n
        Number of measurements.
    bias, low, high
        Mean difference, image minus reference, and mean ± 1.96 standard deviations; NaN for fewer than three
        measurements.
    """

    n: int
    bias: float
    low: float
    high: float


def limits_of(pairs: Sequence[tuple[float, float]]) -> Limits:
    """Bias and limits of agreement of pairs (image, reference)."""
    differences = np.array([image - reference for image, reference in pairs if math.isfinite(image - reference)])
    n = len(differences)
    bias = float(differences.mean()) if n else math.nan
    reach = LIMITS * float(differences.std(ddof=1)) if n >= MIN_POINTS else math.nan
    return Limits(n, bias, bias - reach, bias + reach)


def function_tables(scores: Sequence[Score]) -> list[Table]:
    """Tables of bias and limits of agreement: volumes of stacks, if any, and areas of slices."""
    tables = []
    for functions, quantities in (
        (stack_functions(scores), VOLUME_QUANTITIES),
        (slice_functions(scores), AREA_QUANTITIES),
    ):
        for (sampling, n_coils), group in grouped(functions, lambda f: (f.sampling, f.n_coils)).items():
            tables.append(_table(group, quantities, f"{sampling}, {coils_in_words(n_coils)}"))
    return tables


def _table(group: Sequence[VentricularFunction], quantities: Sequence[str], case: str) -> Table:
    kind = "stack" if group[0].is_volume else "slice"
    rows = []
    for method in dict.fromkeys(f.method for f in group):
        pairs = [f.pairs for f in group if f.method == method]
        limits = [limits_of([pair[name] for pair in pairs]) for name in quantities]
        cells = (Cell(show_difference(limit.bias, limit.low, limit.high, digits=1)) for limit in limits)
        rows.append((Cell(method), Cell(str(len(pairs))), *cells))
    first_pairs = [f.pairs for f in group if f.method == group[0].method]
    means = [np.nanmean([pair[name][1] for pair in first_pairs]) for name in quantities]
    rows.append((Cell("mean of the reference"), Cell(str(len(first_pairs))), *(Cell(f"{mean:.1f}") for mean in means)))
    notes = ["ventricle segmented by a threshold in image and reference separately; for comparison, not for diagnosis"]
    has_limits = any(limit.n >= MIN_POINTS for limit in limits)
    interval = f" [limits of agreement, ± {LIMITS} standard deviations]" if has_limits else ""
    notes.append(f"bias{interval}: mean of image minus reference")
    return Table(f"left ventricle by {kind}: {case}", ("method", f"{kind}s", *quantities), tuple(rows), tuple(notes))
