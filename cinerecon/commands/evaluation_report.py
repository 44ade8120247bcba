"""The results of ``cinerecon evaluate``: printed tables, and the files of the folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cinerecon.evaluation import Failure, Score
    from cinerecon.evaluation.paper_tables import PaperTable


def report_results(
    scores: "list[Score]",
    failures: "list[Failure]",
    output: Path | None,
    baseline: str | None,
    layouts: "Sequence[PaperTable]" = (),
    names: tuple[str, ...] = (),
) -> None:
    """Print the tables, and write the files of results.

    Parameters
    ----------
    scores, failures
        What is reported.
    output
        Folder of the results; None prints them only.
    baseline
        Method to test against.
    layouts
        Tables of papers.
    names
        Methods that the user requested, which are in no table of a paper.
    """
    from cinerecon import evaluation as workflow
    from cinerecon.commands.print_tables import print_tables

    extra = [laid_out for layout in layouts for laid_out in workflow.lay_out(layout, scores, names)]
    rest = workflow.left_over(layouts, scores, names)
    tables = [*extra, *workflow.tables_of(rest, baseline, workflow.BRIEF, failures)]
    print_tables([*tables, *workflow.function_tables(scores)])
    if failures:
        print_tables([workflow.failure_table(failures, len(scores))])
    if output:
        results = workflow.write_results(scores, output, baseline=baseline, extra_tables=extra, failures=failures)
        for path in results:
            print(f"wrote    {path}")
