"""Compare methods on the same scans: scores, statistics, tables, figures and a report."""

from cinerecon.workflows.evaluate.files import compare_files
from cinerecon.workflows.evaluate.papers import PAPER_TABLES, find_paper_table, lay_out
from cinerecon.workflows.evaluate.request import DEFAULT_PROFILE, Request, complete_request, require_files
from cinerecon.workflows.evaluate.results import BRIEF, tables_of, write_results, write_scores
from cinerecon.workflows.evaluate.run import evaluate, list_scans
from cinerecon.workflows.evaluate.score import Score, read_scores
from cinerecon.workflows.evaluate.summary import MEASURES, Summary, summarise
from cinerecon.workflows.evaluate.tables import Cell, Table

__all__ = [
    "BRIEF",
    "DEFAULT_PROFILE",
    "MEASURES",
    "PAPER_TABLES",
    "Cell",
    "Request",
    "Score",
    "Summary",
    "Table",
    "compare_files",
    "complete_request",
    "evaluate",
    "find_paper_table",
    "lay_out",
    "list_scans",
    "read_scores",
    "require_files",
    "summarise",
    "tables_of",
    "write_results",
    "write_scores",
]
