"""The files of an evaluation: JSON, LaTeX, figures, movies and the report."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cinerecon.evaluation.failures import FAILURES, Failure, failure_table
from cinerecon.evaluation.figures import draw_figures, draw_movies
from cinerecon.evaluation.latex import PREAMBLE, as_latex
from cinerecon.evaluation.page import make_page
from cinerecon.evaluation.score import SCORES, Score, write_frames
from cinerecon.evaluation.score_tables import tables_of
from cinerecon.evaluation.summary import summarise
from cinerecon.evaluation.tables import Table
from cinerecon.evaluation.ventricle import function_tables, slice_functions, stack_functions
from cinerecon.io.atomic import write_text
from cinerecon.metrics import find_profile
from cinerecon.metrics.statistics import CONFIDENCE_LEVEL

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
