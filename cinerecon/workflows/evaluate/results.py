"""Tables of all measures, and the files of an evaluation: CSV, JSON, LaTeX, figures and one HTML page."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cinerecon.data.files import moved_into_place
from cinerecon.metrics import find_profile
from cinerecon.metrics.statistics import LEVEL, Gain
from cinerecon.workflows.evaluate.score import SCORES, Score, write_all, write_frames
from cinerecon.workflows.evaluate.summary import MEASURES, Summary, summarise, unit_name
from cinerecon.workflows.evaluate.tables import Cell, Table, bold_best, describe_group, show_count

BRIEF = ("psnr", "ssim", "nmse", "hfen", "heart_psnr", "xt_ssim", "sharpness", "area_change")
"""Measures of the table in a terminal."""
SUMMARY, LATEX, REPORT = "summary.json", "tables.tex", "report.html"


def tables_of(scores: Sequence[Score], baseline: str | None = None, measures: Iterable[str] = MEASURES) -> list[Table]:
    """One table for each sampling pattern and coil count: mean ± deviation [interval], and the gain on the baseline.

    Parameters
    ----------
    scores
        Those to lay out.
    baseline
        As in `summarise`.
    measures
        Names of `MEASURES`; those that no method has are left out.
    """
    groups: dict[tuple[str, int], list[Summary]] = {}
    for summary in summarise(scores, baseline):
        groups.setdefault((summary.sampling, summary.n_coils), []).append(summary)
    return [_table(group, list(measures), notes_of(scores)) for group in groups.values()]


def notes_of(scores: Sequence[Score]) -> tuple[str, ...]:
    """The rules of measuring, and whatever makes results look other than on measured scans."""
    notes = [find_profile(name).description for name in dict.fromkeys(score.profile for score in scores)]
    heart = "heart: box around what moves in the truth, magnitudes, data range of the whole field"
    notes.append(f"mean ± standard deviation over slices [{LEVEL:.0%} bootstrap interval over {unit_name(scores)}]")
    if any(not math.isnan(score.heart_psnr) for score in scores):
        notes.append(f"{heart}; temporal sharpness: 1 is right; areas of the blood pool: error against the truth")
    if all(math.isnan(score.seconds) for score in scores):
        return tuple(notes)
    threads = " and ".join(sorted({f"{score.device}, {score.n_threads} threads" for score in scores}))
    notes.append(f"seconds a slice and memory beyond data and program, on {threads}")
    for text in sorted({mark for score in scores for mark in score.marks.split("; ")} - {""}):
        n = len({score.case[:2] for score in scores if text in score.marks.split("; ")})
        notes.append(f"{n} slice{' is' if n == 1 else 's are'} marked: {text}")
    return tuple(notes)


def _table(group: list[Summary], measures: list[str], notes: tuple[str, ...]) -> Table:
    shown = [name for name in measures if any(summary.measures[name].n for summary in group)]
    baseline = next((summary.baseline for summary in group if summary.baseline), "")
    columns = ["method", *(MEASURES[name].title for name in shown)]
    if baseline:
        columns += [f"Δ PSNR on {baseline} [dB]", "p (Holm)"]
    columns += ["time [s]", "memory [MB]", "parameters"]
    rows = []
    for summary in group:
        cells = [Cell(summary.method), *(Cell(_show_spread(summary, name)) for name in shown)]
        if baseline:
            gain = summary.gains.get("psnr")
            cells += [Cell(_show_gain(gain)), Cell(_show_p(gain))]
        memory = "–" if math.isnan(summary.memory_mb) else f"{summary.memory_mb:.0f}"
        seconds = "–" if math.isnan(summary.seconds) else f"{summary.seconds:.2f}"
        rows.append([*cells, Cell(seconds), Cell(memory), Cell(show_count(summary.n_parameters))])
    for column, name in enumerate(shown, start=1):
        bold_best(rows, column, [MEASURES[name].distance(summary.measures[name].mean) for summary in group])
    return Table(describe_group(group[0]), tuple(columns), tuple(map(tuple, rows)), notes)


def _show_spread(summary: Summary, name: str) -> str:
    found, measure = summary.measures[name], MEASURES[name]
    text = measure.show(found.mean)
    if found.n > 1:
        text += f" ± {measure.show(found.sd)}"
    if not math.isnan(found.low):
        text += f" [{measure.show(found.low)}, {measure.show(found.high)}]"
    return text


def _show_gain(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.mean):
        return "–"
    interval = "" if math.isnan(gain.low) else f" [{gain.low:+.2f}, {gain.high:+.2f}]"
    return f"{gain.mean:+.2f}{interval}"


def _show_p(gain: Gain | None) -> str:
    if gain is None or math.isnan(gain.p_holm):
        return "–"
    return "< 0.001" if gain.p_holm < 0.001 else f"{gain.p_holm:.3f}"


def write_scores(scores: Sequence[Score], folder: Path, baseline: str | None = None) -> list[Path]:
    """Write ``scores.csv`` of these scores alone, ``frames.csv`` and ``summary.json``; makes the folder if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_all(folder, scores)
    return [folder / SCORES, write_frames(folder, scores), write_summary(scores, folder, baseline)]


def write_summary(scores: Sequence[Score], folder: Path, baseline: str | None = None) -> Path:
    """Write ``summary.json``: the rules of measuring, then a record for each method under each sampling."""
    profiles = {
        name: asdict(find_profile(name)) | {"crop": find_profile(name).crop}
        for name in dict.fromkeys(score.profile for score in scores)
    }
    content = {
        "profiles": profiles,
        "interval": {"level": LEVEL, "over": unit_name(scores)},
        "notes": notes_of(scores),
        "results": [_plain(asdict(summary)) for summary in summarise(scores, baseline)],
    }
    return write_text(folder / SUMMARY, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """The same with null where nothing is known: JSON has no NaN, and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> Path:
    """Write a text file that is whole or not there."""
    with moved_into_place(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_results(
    scores: Sequence[Score], folder: Path, *, baseline: str | None = None, extra_tables: Sequence[Table] = ()
) -> list[Path]:
    """Write all but ``scores.csv``, which `evaluate` wrote: JSON, LaTeX, figures, and last the page that shows all.

    Parameters
    ----------
    scores
        Those to report.
    folder
        Where `evaluate` kept scores and images.
    baseline
        As in `summarise`.
    extra_tables
        To stand first, e.g. those of a paper.
    """
    from cinerecon.workflows.evaluate.figures import draw_figures
    from cinerecon.workflows.evaluate.report import write_report

    tables = [*extra_tables, *tables_of(scores, baseline)]
    paths = [folder / SCORES, write_frames(folder, scores), write_summary(scores, folder, baseline)]
    paths.append(write_text(folder / LATEX, "\n".join(table.as_latex() for table in tables)))
    figures = draw_figures(scores, folder)
    paths += [figure.path for figure in figures]
    return [*paths, write_report(folder / REPORT, scores, tables, figures)]
