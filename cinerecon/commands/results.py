"""The results of ``cinerecon evaluate`` and ``cinerecon prepare``: printed tables, and the files of results."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cinerecon.evaluation.failures import Failure
    from cinerecon.evaluation.paper_tables import PaperTable
    from cinerecon.evaluation.score import Score
    from cinerecon.preparation.report import Leftover, PrepareReport

MAX_PRINTED_REJECTIONS = 5
"""Rejections printed; all are in ``refused.csv``."""


def report_results(
    scores: "list[Score]",
    failures: "list[Failure]",
    output: Path | None,
    baseline: str | None,
    layouts: "Sequence[PaperTable]" = (),
    names: tuple[str, ...] = (),
) -> None:
    """Print the tables, and write the files of results.

    Without an output folder only the tables are printed. The names are those of methods that the user requested in
    addition to those of the papers.
    """
    from cinerecon.commands.console import print_tables
    from cinerecon.evaluation.failures import failure_table
    from cinerecon.evaluation.paper_tables import lay_out, scores_not_in
    from cinerecon.evaluation.results import write_results
    from cinerecon.evaluation.score import SCORES, count_earlier_scores
    from cinerecon.evaluation.score_tables import BRIEF, tables_of
    from cinerecon.evaluation.ventricle import function_tables

    extra = [laid_out for layout in layouts for laid_out in lay_out(layout, scores, names)]
    rest = scores_not_in(layouts, scores, names)
    tables = [*extra, *tables_of(rest, baseline, BRIEF, failures)]
    print_tables([*tables, *function_tables(scores)])
    if failures:
        print_tables([failure_table(failures, len(scores))])
    if output:
        results = write_results(scores, output, baseline=baseline, extra_tables=extra, failures=failures)
        for path in results:
            print(f"wrote    {path}")
        n_earlier = count_earlier_scores(output, scores)
        if n_earlier:
            scores_text = "an earlier score" if n_earlier == 1 else f"{n_earlier} earlier scores"
            print(
                f"note     {SCORES} also contains {scores_text} with another seed, setting or image, not included in "
                "the tables"
            )


def _lines_of_leftover(leftover: "Leftover") -> Iterator[str]:
    """Lines about cases of earlier runs that were not prepared again."""
    from cinerecon.words import counted

    if leftover.stale:
        yield f"removed  {counted(len(leftover.stale), 'case')} of slices that are no longer in their scans"
    if leftover.outdated:
        n_cases, example = counted(len(leftover.outdated), "case"), leftover.outdated[0].source
        yield f"warning  {n_cases} in the index of former contents of files that are refused now, such as {example}"
    if leftover.others:
        n_scans = counted(len({row.source for row in leftover.others}), "scan")
        yield f"kept     {counted(len(leftover.others), 'case')} of {n_scans} that this command does not name"
    if leftover.unlisted:
        n_files = counted(len(leftover.unlisted), "file")
        yield f"warning  {n_files} in the folders of the splits, not in the index, such as {leftover.unlisted[0]}"


def print_cases(report: "PrepareReport", verb: str = "prepared") -> None:
    """Print the numbers of cases, which were ``prepared`` or ``merged``, the warnings, and the first rejections."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from cinerecon.archives.case_index import SPLITS

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for heading in ("subjects", "slices", "cases"):
        table.add_column(heading, justify="right")
    for name in SPLITS:
        table.add_row(name, *map(str, report.count(name)))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    n_existing = len(report.rows) - report.n_new
    cases = "case" if report.n_new == 1 else "cases"
    print(f"\n{report.n_new} {cases} {verb}" + (f", {n_existing} already existed" if n_existing else ""))
    for reason, count in report.passed.items():
        print(f"skipped  {count} {reason}")
    n_slices = len({(row.source_sha256, row.slice) for row in report.rows})
    for line in _lines_of_leftover(report.leftover):
        print(line)
    for text, count in report.warnings.items():
        share = "" if count >= n_slices else f"{count} of {n_slices} slices: "
        console.print(f"[yellow]warning[/]  {share}{escape(text)}")
    if report.n_unknown_subjects > 1:
        files = f"{report.n_unknown_subjects} files"
        text = f"the subject of {files} is unknown: each file counts as a subject (--subject extracts it from the path)"
        console.print(f"[yellow]warning[/]  {text}")
    if report.index.exists():
        print(f"wrote    {report.index}")
    for refusal in report.refused[:MAX_PRINTED_REJECTIONS]:
        print(f"refused  {refusal.what}\nwhere    {refusal.where or refusal.path}", file=sys.stderr)
        if refusal.hint:
            print(f"try      {refusal.hint}", file=sys.stderr)
    if len(report.refused) > MAX_PRINTED_REJECTIONS:
        rest = len(report.refused) - MAX_PRINTED_REJECTIONS
        print(f"refused  {rest} more, see {report.index.with_name('refused.csv')}", file=sys.stderr)
