"""Tables of all measures, and the files of an evaluation: CSV, JSON, LaTeX, figures and one HTML page.

The page contains all tables, figures and measurement rules. It requires no network connection and no other file.
"""

import base64
import html
import json
import math
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cinerecon.evaluation.failures import FAILURES, Failure, failure_table
from cinerecon.evaluation.figures import Drawn
from cinerecon.evaluation.latex import PREAMBLE, as_latex
from cinerecon.evaluation.score import SCORES, Score, grouped, write_frames
from cinerecon.evaluation.summary import LIMITS, MEASURES, Summary, require_baseline, summarise
from cinerecon.evaluation.tables import Cell, Table, bold_best, group_caption, show_count, with_notes_once
from cinerecon.evaluation.ventricle import function_tables, slice_functions, stack_functions
from cinerecon.io.atomic import write_text
from cinerecon.metrics import find_profile
from cinerecon.metrics.frc import CORRELATION, CUTOFF_THRESHOLD
from cinerecon.metrics.statistics import CONFIDENCE_LEVEL, MIN_UNITS, Gain
from cinerecon.version import __version__
from cinerecon.words import counted

BRIEF = ("psnr", "ssim", "nmse", "hfen", "frc_rate", "heart_psnr", "xt_ssim", "sharpness", "area_change")
"""Measures in the table that is printed in a terminal."""
SUMMARY, LATEX, REPORT = "summary.json", "tables.tex", "report.html"
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1d21; background: #fff; margin: 2rem auto; max-width: 78rem;
  padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
figure { margin: 1.2rem 0 2rem; } figcaption { color: #555; font-size: .85rem; } figcaption p { margin: .15rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .7rem; text-align: right; } th:first-child, td:first-child, .text th, .text td
  { text-align: left; }
thead th { border-bottom: 2px solid #333; } tbody tr:nth-child(even) { background: #f5f6f8; }
.best { font-weight: 700; } .foreign { color: #999; }
img, video { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; } dt { color: #555; }
dd { margin: 0; }
"""


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
        limits = f"limits of agreement: mean ± {LIMITS} standard deviations"
        notes.append(f"|error|: mean absolute error over slices, used to select the best method; {limits}")
    if any(not math.isnan(score.frc_rate) for score in scores):
        text = f"sFRC candidates: patches whose correlation with the reference falls below {CORRELATION} before"
        notes.append(f"{text} {CUTOFF_THRESHOLD} cycles per pixel; compare with ktslr, which is not trained")
    if all(math.isnan(score.seconds) for score in scores):
        return (*notes, *marks_of(scores))
    machines = {f"{score.device} with {score.n_threads} thread{'s' * (score.n_threads > 1)}" for score in scores}
    notes.append(f"time per slice, and memory in addition to data and program, on {' and '.join(sorted(machines))}")
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
    columns += ["time [s]", "memory [MB]", "parameters"]
    rows = []
    for summary in group:
        cells = [Cell(summary.method), *([Cell(str(summary.n_slices))] if are_uneven else [])]
        cells += [Cell(_show_spread(summary, name)) for name in shown]
        if baseline:
            gain = summary.gains.get("psnr")
            cells += [Cell(_show_gain(gain)), *([Cell(_show_p(gain))] if has_test else [])]
        memory = "–" if math.isnan(summary.memory_mb) else f"{summary.memory_mb:.0f}"
        seconds = "–" if math.isnan(summary.seconds) else f"{summary.seconds:.2f}"
        rows.append([*cells, Cell(seconds), Cell(memory), Cell(show_count(summary.n_parameters))])
    for column, name in enumerate(shown, start=1 + are_uneven):
        bold_best(rows, column, [summary.distance(name) for summary in group])
    return Table(group_caption(group), tuple(columns), tuple(map(tuple, rows)), notes)


def _show_spread(summary: Summary, name: str) -> str:
    spread, measure = summary.measures[name], MEASURES[name]
    text = measure.show(spread.mean)
    if spread.n > 1:
        text += f" ± {measure.show(spread.sd)}"
    if not math.isnan(spread.low):
        text += f" [{measure.show(spread.low)}, {measure.show(spread.high)}]"
    if name in summary.agreement and spread.n > 1:
        text += f", |error| {measure.show(summary.agreement[name].absolute_error)}"
    return f"{text} (n {spread.n})" if 0 < spread.n < summary.n_slices else text


def _show_gain(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.mean):
        return "–"
    interval = "" if math.isnan(gain.low) else f" [{gain.low:+.2f}, {gain.high:+.2f}]"
    return f"{gain.mean:+.2f}{interval}"


def _show_p(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.p_holm):
        return "–"
    return "< 0.001" if gain.p_holm < 0.001 else f"{gain.p_holm:.3f}"


def write_summary(
    scores: Sequence[Score], folder: Path, baseline: str | None = None, failures: Sequence[Failure] = ()
) -> Path:
    """Write ``summary.json``: the measurement rules, followed by a record for each method and sampling."""
    profiles = {
        rules.name: asdict(rules)
        | {"scale": rules.scale_in_words, "data_range": rules.data_range_in_words, "crop": rules.crop}
        for rules in map(find_profile, dict.fromkeys(score.profile for score in scores))
    }
    content = {
        "profiles": profiles,
        "interval": {"level": CONFIDENCE_LEVEL},
        "n_failed": len(failures),
        "notes": list(
            dict.fromkeys(note for table in tables_of(scores, baseline, failures=failures) for note in table.notes)
        ),
        "ventricle": [
            _plain(asdict(f) | {"pairs": f.pairs}) for f in (*stack_functions(scores), *slice_functions(scores))
        ],
        "results": [_plain(asdict(summary)) for summary in summarise(scores, baseline)],
    }
    return write_text(folder / SUMMARY, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """A value for JSON, with None for NaN and infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_results(
    scores: Sequence[Score],
    folder: Path,
    *,
    baseline: str | None = None,
    extra_tables: Sequence[Table] = (),
    failures: Sequence[Failure] = (),
) -> list[Path]:
    """Write all files except ``scores.csv``, which is written by `evaluate`: JSON, LaTeX, movies, figures, and the
    page.

    Parameters
    ----------
    scores
        Scores of the report.
    folder
        Folder with the scores and images of `evaluate`.
    baseline
        As in `summarise`.
    extra_tables
        Tables that are placed first, e.g. those of a paper.
    failures
        Missing results.
    """
    from cinerecon.evaluation.figures import draw_figures, draw_movies

    tables = [*extra_tables, *tables_of(scores, baseline, failures=failures), *function_tables(scores)]
    paths = [folder / SCORES, write_frames(folder, scores), write_summary(scores, folder, baseline, failures)]
    paths.append(write_text(folder / LATEX, "\n".join([PREAMBLE, *map(as_latex, tables)])))
    figures = [*draw_movies(scores, folder), *draw_figures(scores, folder)]
    paths += [figure.path for figure in figures]
    if failures:
        tables.append(failure_table(failures, len(scores)))
        paths.append(folder / FAILURES)
    return [*paths, write_text(folder / REPORT, make_page(scores, tables, figures))]


def make_page(scores: Sequence[Score], tables: Sequence[Table], figures: Sequence[Drawn]) -> str:
    """The HTML page.

    Parameters
    ----------
    scores
        Scores that the tables and figures show.
    tables, figures
        Tables and figures in their order on the page.
    """
    methods = list(dict.fromkeys(score.method for score in scores))
    n_slices, n_subjects = len({score.case[:3] for score in scores}), len({score.subject for score in scores})
    facts = {
        "methods": ", ".join(methods),
        "sampling": ", ".join(dict.fromkeys(score.sampling for score in scores)),
        "cases": f"{counted(n_slices, 'slice')} of {counted(n_subjects, 'subject')}",
        "created": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by cinerecon {__version__}",
        "environment": f"torch {torch.__version__}, Python {platform.python_version()}, {platform.platform()}",
    }
    listed = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items())
    shown = "\n".join(table.as_html() for table in with_notes_once(tables))
    drawn = f"<h2>Figures</h2>\n{''.join(map(_show_figure, figures))}" if figures else ""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>cinerecon: {html.escape(', '.join(methods))}</title><style>{STYLE}</style></head>\n<body>"
        f"<h1>Evaluation</h1><dl>{listed}</dl>\n<p>For research, not for diagnostic use.</p>\n"
        f"<h2>Results</h2>\n{shown}\n{drawn}</body></html>\n"
    )


def _show_figure(figure: Drawn) -> str:
    data = base64.b64encode(figure.path.read_bytes()).decode()
    caption = html.escape(figure.caption)
    if figure.path.suffix == ".mp4":
        shown = f"<video controls loop muted src='data:video/mp4;base64,{data}'></video>"
    else:
        shown = f"<img alt='{caption}' src='data:image/png;base64,{data}'>"
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>\n"
