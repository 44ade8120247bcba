"""Scores grouped by sampling, coils and method: mean, spread, confidence, and the test against a baseline."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cinerecon.errors import ConfigError, nearest_name
from cinerecon.evaluation.score import Score, grouped
from cinerecon.metrics.statistics import Gain, MeanSummary, compare_paired, summarise_mean, with_holm


@dataclass(frozen=True)
class Measure:
    """Presentation of a measure in tables.

    Attributes
    ----------
    label
        Name in tables and figures.
    unit
        Unit; empty if the measure has none.
    digits
        Number of digits after the decimal point.
    factor
        Factor by which values are multiplied, as in the papers.
    best
        Best value: ``high``, ``low``, ``one`` or ``zero``.
    """

    label: str
    unit: str = ""
    digits: int = 3
    factor: float = 1.0
    best: str = "high"

    @property
    def title(self) -> str:
        """Label with its unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    def show(self, value: float) -> str:
        """A value as text; a dash if it is NaN."""
        return "–" if math.isnan(value) else f"{self.factor * value:.{self.digits}f}"

    @property
    def is_target(self) -> bool:
        """Whether the measure has a target value, from which it can deviate in both directions."""
        return self.best in ("one", "zero")

    def distance(self, value: float) -> float:
        """Distance of a value from the ideal, by which values are ranked."""
        return {"high": -value, "low": value, "one": abs(value - 1), "zero": abs(value)}[self.best]


MEASURES = {
    "psnr": Measure("PSNR", "dB", 2),
    "ssim": Measure("SSIM", digits=4),
    "ssim_fixed": Measure("SSIM, range 1", digits=4),
    "nmse": Measure("NMSE", digits=4, best="low"),
    "mse": Measure("MSE", "1e-5", 2, 1e5, best="low"),
    "hfen": Measure("HFEN", best="low"),
    "frc_rate": Measure("sFRC candidates", "%", 2, best="low"),
    "heart_psnr": Measure("heart PSNR", "dB", 2),
    "heart_ssim": Measure("heart SSIM", digits=4),
    "heart_nmse": Measure("heart NMSE", digits=4, best="low"),
    "xt_ssim": Measure("x-t SSIM", digits=4),
    "sharpness": Measure("temporal sharpness", digits=3, best="one"),
    "diastolic_area": Measure("diastolic area", "%", 1, best="zero"),
    "systolic_area": Measure("systolic area", "%", 1, best="zero"),
    "area_change": Measure("area change", "points", 1, best="zero"),
    "border_sharpness": Measure("border sharpness", best="one"),
    "heart_frc_rate": Measure("heart sFRC candidates", "%", 2, best="low"),
}
"""All measures that are summarised, in the order of the tables."""
TIME, MEMORY = Measure("time", "s", 2), Measure("memory", "MB", 0)
TESTED = ("psnr", "ssim", "nmse", "heart_psnr", "xt_ssim")
"""Measures for which methods are tested against the baseline."""
LIMITS = 1.96
"""Distance of the limits of agreement from the bias [standard deviations]."""
SUBJECTS, SLICES = "subjects", "slices of one subject"


@dataclass(frozen=True)
class Agreement:
    """Absolute error of a measure whose signed errors would cancel in the mean.

    Attributes
    ----------
    absolute_error
        Mean absolute error over cases.
    low, high
        Limits of agreement, mean ± 1.96 standard deviations, which contain 95 % of normally distributed
        cases. NaN for one case.
    """

    absolute_error: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """The results of a method over all slices of one sampling pattern and coil count.

    Attributes
    ----------
    method, sampling, n_coils, n_slices
        The group that is summarised.
    unit
        Unit of intervals and tests: ``subjects``, or ``slices of one subject`` if there is only one.
    measures
        Summaries by name, see `MEASURES`.
    agreement
        Agreement by name, for the measures with a target value.
    gains
        Gains over the baseline on the same slices, by name of the measure; empty for the baseline itself.
    baseline
        Method that it was tested against; empty if none.
    acceleration
        Mean ratio of k-space points to sampled points.
    seconds
        Mean wall time of a reconstruction [s].
    memory_mb
        Largest peak memory of a reconstruction [MB].
    n_parameters
        Number of learned parameters.
    n_threads, device
        Number of threads, and device on which the method ran.
    """

    method: str
    sampling: str
    n_coils: int
    n_slices: int
    unit: str
    measures: dict[str, MeanSummary]
    agreement: dict[str, Agreement] = field(default_factory=dict)
    gains: dict[str, Gain] = field(default_factory=dict)
    baseline: str = ""
    acceleration: float = math.nan
    seconds: float = math.nan
    memory_mb: float = math.nan
    n_parameters: int = 0
    n_threads: int = 1
    device: str = "cpu"

    def show(self, name: str) -> str:
        """Mean of a measure as text, ± standard deviation if there are several slices."""
        spread, measure = self.measures[name], MEASURES[name]
        return measure.show(spread.mean) + (f" ± {measure.show(spread.sd)}" if spread.n > 1 else "")

    def distance(self, name: str) -> float:
        """Distance of a measure from the ideal value as shown in tables; with a target value, the mean absolute error.

        The distance is rounded like the displayed numbers, so that methods with equal numbers have equal ranks.
        """
        measure = MEASURES[name]
        error = self.agreement[name].absolute_error if name in self.agreement else None
        distance = measure.distance(self.measures[name].mean) if error is None else error
        return round(measure.factor * distance, measure.digits)


def summarise(scores: Iterable[Score], baseline: str | None = None) -> list[Summary]:
    """Group scores by coils, sampling and method, in the order of their first appearance.

    Parameters
    ----------
    scores
        Scores in any order.
    baseline
        Method that the others are tested against, on the slices that both reconstructed. Holm's correction is applied
        to all methods of a group together, separately for each measure. None means the first method if there are
        several.
    """
    scores = list(scores)
    methods = list(dict.fromkeys(score.method for score in scores))
    if baseline is None:
        baseline = methods[0] if len(methods) > 1 else ""
    summaries: dict[tuple[tuple[str, int], str], Summary] = {}
    for key, group in grouped(scores, lambda score: score.group).items():
        by_method, unit = grouped(group, lambda score: score.method), unit_of(group)
        gains = _gains(by_method, baseline, unit) if baseline in by_method else {}
        for method, members in by_method.items():
            summary = _summarise(members, unit)
            if method in gains:
                summary = replace(summary, gains=gains[method], baseline=baseline)
            summaries[key, method] = summary
    return [summaries[key] for key in dict.fromkeys((score.group, score.method) for score in scores)]


def require_baseline(baseline: str, methods: Sequence[str]) -> None:
    """Check that the baseline is one of the methods.

    Raises
    ------
    ConfigError
        If the baseline is not one of the methods, with the nearest name as a hint.
    """
    if baseline not in methods:
        hint = nearest_name(baseline, methods)
        raise ConfigError(f"the baseline '{baseline}' is not one of the methods", where="--baseline", hint=hint)


def unit_of(scores: Sequence[Score]) -> str:
    """The unit of intervals and tests: subjects, or slices if there is only one subject."""
    return SUBJECTS if len({score.subject or score.scan for score in scores}) > 1 else SLICES


def _units(scores: Sequence[Score], unit: str) -> list[str]:
    """The unit that each case belongs to."""
    return [(s.subject or s.scan) if unit == SUBJECTS else f"{s.scan} {s.slice}" for s in scores]


def _agreement(name: str, summary: MeanSummary, values: Sequence[float]) -> Agreement:
    distances = [MEASURES[name].distance(value) for value in values if not math.isnan(value)]
    reach = LIMITS * summary.sd if summary.n > 1 else math.nan
    return Agreement(sum(distances) / len(distances), summary.mean - reach, summary.mean + reach)


def _summarise(group: list[Score], unit: str) -> Summary:
    units, first = _units(group, unit), group[0]
    values = {name: [getattr(score, name) for score in group] for name in MEASURES}
    measures = {name: summarise_mean(values[name], units) for name in MEASURES}
    memory = [s.memory_mb for s in group if not math.isnan(s.memory_mb)]
    return Summary(
        method=first.method,
        sampling=first.sampling,
        n_coils=first.n_coils,
        n_slices=len(group),
        unit=unit,
        measures=measures,
        agreement={
            name: _agreement(name, spread, values[name])
            for name, spread in measures.items()
            if MEASURES[name].is_target and spread.n
        },
        acceleration=sum(s.acceleration for s in group) / len(group),
        seconds=sum(s.seconds for s in group) / len(group),
        memory_mb=max(memory, default=math.nan),
        n_parameters=first.n_parameters,
        n_threads=first.n_threads,
        device=first.device,
    )


def _gains(by_method: dict[str, list[Score]], baseline: str, unit: str) -> dict[str, dict[str, Gain]]:
    """Gains of each other method over the baseline, by measure; p values are corrected for all methods."""
    rivals = {method: scores for method, scores in by_method.items() if method != baseline}
    gains: dict[str, dict[str, Gain]] = {method: {} for method in rivals}
    for name in TESTED:
        compared = [gain_over(by_method[baseline], scores, name, unit) for scores in rivals.values()]
        for method, gain in zip(rivals, with_holm(compared), strict=True):
            gains[method][name] = gain
    return gains


def gain_over(baseline: Sequence[Score], scores: Sequence[Score], name: str, unit: str = SUBJECTS) -> Gain:
    """Gain of a method over the baseline in a measure, on the cases that both reconstructed."""
    baseline_scores = {score.case: score for score in baseline}
    pairs = [(score, baseline_scores[score.case]) for score in scores if score.case in baseline_scores]
    values, baseline_values = ([getattr(pair[side], name) for pair in pairs] for side in (0, 1))
    return compare_paired(values, baseline_values, _units([score for score, _ in pairs], unit))
