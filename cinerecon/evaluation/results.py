"""The files of an evaluation: JSON, LaTeX, figures, movies and the report.

The report is one HTML page with all tables, figures and measurement rules, which requires no network connection and no
other file.
"""

import base64
import html
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cinerecon.evaluation.failures import FAILURES, Failure, failure_table
from cinerecon.evaluation.figures import FigureFile, draw_figures, draw_movies
from cinerecon.evaluation.latex import PREAMBLE, as_latex
from cinerecon.evaluation.score import SCORES, Score, write_frames
from cinerecon.evaluation.score_tables import tables_of
from cinerecon.evaluation.summary import summarise
from cinerecon.evaluation.tables import Table, with_notes_once
from cinerecon.evaluation.ventricle import function_tables, slice_functions, stack_functions
from cinerecon.io.atomic import write_text
from cinerecon.metrics import find_profile
from cinerecon.metrics.statistics import CONFIDENCE_LEVEL
from cinerecon.version import __version__
from cinerecon.words import counted

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


def make_page(scores: Sequence[Score], tables: Sequence[Table], figures: Sequence[FigureFile]) -> str:
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


def _show_figure(figure: FigureFile) -> str:
    data = base64.b64encode(figure.path.read_bytes()).decode()
    caption = html.escape(figure.caption)
    if figure.path.suffix == ".mp4":
        shown = f"<video controls loop muted src='data:video/mp4;base64,{data}'></video>"
    else:
        shown = f"<img alt='{caption}' src='data:image/png;base64,{data}'>"
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>\n"


SUMMARY, LATEX, REPORT = "summary.json", "tables.tex", "report.html"


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
    return write_text(folder / SUMMARY, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """A value for JSON, with None for NaN and infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
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
    tables = [*extra_tables, *tables_of(scores, baseline, failures=failures), *function_tables(scores)]
    paths = [folder / SCORES, write_frames(folder, scores), write_summary(scores, folder, baseline, failures)]
    paths.append(write_text(folder / LATEX, "\n".join([PREAMBLE, *map(as_latex, tables)])))
    figures = [*draw_movies(scores, folder), *draw_figures(scores, folder)]
    paths += [figure.path for figure in figures]
    if failures:
        tables.append(failure_table(failures, len(scores)))
        paths.append(folder / FAILURES)
    return [*paths, write_text(folder / REPORT, make_page(scores, tables, figures))]
