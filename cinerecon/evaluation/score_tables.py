"""Tables of all measures: mean, spread and interval of each method, and its gain over the baseline."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cinerecon.evaluation.failures import Failure
from cinerecon.evaluation.score import Score, grouped
from cinerecon.evaluation.summary import MEASURES, MEMORY, TIME, Summary, require_baseline, summarise
from cinerecon.evaluation.tables import Cell, Table, bold_best, group_caption, show_count, show_difference
from cinerecon.metrics import find_profile
from cinerecon.metrics.frc import CORRELATION, CUTOFF_THRESHOLD
from cinerecon.metrics.statistics import CONFIDENCE_LEVEL, MIN_UNITS, Gain
from cinerecon.words import counted

BRIEF = ("psnr", "ssim", "nmse", "hfen", "frc_rate", "heart_psnr", "xt_ssim", "sharpness", "area_change")
"""Measures in the table that is printed in a terminal."""


def tables_of(
    scores: Sequence[Score],
    baseline: str | None = None,
    measures: Iterable[str] = MEASURES,
    failures: Sequence[Failure] = (),
) -> list[Table]:
    """One table for each sampling pattern and coil count: mean ± deviation [interval], and the gain over the baseline.

    Parameters
    ----------
    scores
        Scores for the tables.
    baseline
        As in `summarise`.
    measures
        Names from `MEASURES`; those that no method has are omitted.
    failures
        Missing results, listed below the table.

    Raises
    ------
    ConfigError
        If the baseline is not among the methods.
    """
    if baseline is not None and scores:
        methods = [*(score.method for score in scores), *(failure.method for failure in failures)]
        require_baseline(baseline, list(dict.fromkeys(methods)))
    scores_of = grouped(scores, lambda score: score.group)
    tables = []
    for key, group in grouped(summarise(scores, baseline), lambda summary: (summary.sampling, summary.n_coils)).items():
        of_group, missing = scores_of[key], [failure for failure in failures if failure.sampling == key[0]]
        tables.append(_table(group, list(measures), (*_missing(missing), *notes_of(of_group, group))))
    return tables


def notes_of(scores: Sequence[Score], group: Sequence[Summary]) -> tuple[str, ...]:
    """The profile, an explanation of the numbers of a table, and the remarks on all scores."""
    notes = [find_profile(name).description for name in dict.fromkeys(score.profile for score in scores)]
    heart = (
        "heart: box around the moving part of the reference; magnitudes, with the data range of the whole field of view"
    )
    notes.append(f"mean ± standard deviation over slices{_describe_interval(group)}")
    notes += _unknown_subjects(scores)
    if any(not math.isnan(score.heart_psnr) for score in scores):
        notes.append(f"{heart}; temporal sharpness: 1 is ideal; areas of the blood pool: difference from the reference")
    if any(_shows_error(summary, name) for summary in group for name in summary.agreement):
        notes.append("|error|: mean absolute error over slices, used to select the best method")
    if any(not math.isnan(score.frc_rate) for score in scores):
        text = f"sFRC candidates: patches whose correlation with the reference falls below {CORRELATION} before"
        notes.append(f"{text} {CUTOFF_THRESHOLD} cycles per pixel; compare with ktslr, which is not trained")
    if all(math.isnan(score.seconds) for score in scores):
        return (*notes, *marks_of(scores))
    machines = {f"{score.device} with {score.n_threads} thread{'s' * (score.n_threads > 1)}" for score in scores}
    notes.append(
        f"mean time per slice, and largest memory in addition to data and program, on {' and '.join(sorted(machines))}"
    )
    return (*notes, *marks_of(scores))


def _describe_interval(group: Sequence[Summary]) -> str:
    """Description of the interval of a table; if it has none, of the number of units that it requires."""
    spreads, unit = [spread for summary in group for spread in summary.measures.values()], group[0].unit
    if all(math.isnan(spread.low) for spread in spreads):
        n = max(spread.n_units for spread in spreads)
        return f"; no intervals, since {n} {unit} are too few (at least {MIN_UNITS})" if 1 < n < MIN_UNITS else ""
    return f" [{CONFIDENCE_LEVEL:.0%} bootstrap interval over {unit}]"


def _unknown_subjects(scores: Sequence[Score]) -> Iterator[str]:
    """A note if several scans have an unknown subject: scans of the same subject would make intervals too narrow."""
    n = len({score.scan for score in scores if (score.subject or score.scan) == score.scan})
    if n > 1:
        yield (
            f"the subjects of {n} scans are unknown: each scan counts as a subject; --subject extracts them from the "
            "path"
        )


def marks_of(scores: Sequence[Score]) -> Iterator[str]:
    """Remarks on the scores, each with its number of slices."""
    for text in sorted({mark for score in scores for mark in score.marks.split("; ")} - {""}):
        n = len({score.case[:2] for score in scores if text in score.marks.split("; ")})
        yield f"{counted(n, 'slice')} {'is' if n == 1 else 'are'} marked: {text}"


def _missing(failures: Sequence[Failure]) -> Iterator[str]:
    """Number of failed tasks of each method, which the means do not include."""
    if failures:
        counts = Counter(failure.method for failure in failures)
        yield "failed, and therefore not included in these means: " + ", ".join(
            f"{name} {n}" for name, n in counts.items()
        )


def _table(group: list[Summary], measures: list[str], notes: tuple[str, ...]) -> Table:
    shown = [name for name in measures if any(summary.measures[name].n for summary in group)]
    baseline = next((summary.baseline for summary in group if summary.baseline), "")
    # means over different slices than the rest of the column are not comparable, which must be visible
    are_uneven = len({summary.n_slices for summary in group}) > 1
    columns = ["method", *(["slices"] if are_uneven else []), *(MEASURES[name].title for name in shown)]
    if baseline:
        has_test = any((gain := summary.gains.get("psnr")) and not math.isnan(gain.p_holm) for summary in group)
        columns += [f"Δ PSNR over {baseline} [dB]", *(["p (Holm)"] if has_test else [])]
    columns += [TIME.title, MEMORY.title, "parameters"]
    rows = []
    for summary in group:
        cells = [Cell(summary.method), *([Cell(str(summary.n_slices))] if are_uneven else [])]
        cells += [Cell(_show_spread(summary, name)) for name in shown]
        if baseline:
            gain = summary.gains.get("psnr")
            cells += [Cell(_show_gain(gain)), *([Cell(_show_p(gain))] if has_test else [])]
        costs = (TIME.show(summary.seconds), MEMORY.show(summary.memory_mb), show_count(summary.n_parameters))
        rows.append([*cells, *map(Cell, costs)])
    for column, name in enumerate(shown, start=1 + are_uneven):
        bold_best(rows, column, [summary.distance(name) for summary in group])
    return Table(group_caption(group), tuple(columns), tuple(map(tuple, rows)), notes)


def _show_spread(summary: Summary, name: str) -> str:
    spread, measure = summary.measures[name], MEASURES[name]
    text = summary.show(name)
    if not math.isnan(spread.low):
        text += f" [{measure.show(spread.low)}, {measure.show(spread.high)}]"
    if _shows_error(summary, name):
        text += f", |error| {measure.show(summary.agreement[name].absolute_error)}"
    return f"{text} (n {spread.n})" if 0 < spread.n < summary.n_slices else text


def _shows_error(summary: Summary, name: str) -> bool:
    """Whether the mean absolute error of a measure is shown: it differs from its mean if there are several slices."""
    return name in summary.agreement and summary.measures[name].n > 1


def _show_gain(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.mean):
        return "–"
    return show_difference(gain.mean, gain.low, gain.high, digits=2)


def _show_p(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.p_holm):
        return "–"
    return "< 0.001" if gain.p_holm < 0.001 else f"{gain.p_holm:.3f}"
