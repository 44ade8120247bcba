"""Compare methods on the same scans: scores, statistics, tables, figures and a report."""

from cinerecon.metrics import DEFAULT_PROFILE
from cinerecon.workflows.evaluate.failures import Failure, tell_failures
from cinerecon.workflows.evaluate.files import compare_files
from cinerecon.workflows.evaluate.papers import PAPER_TABLES, find_paper_table, lay_out, left_over
from cinerecon.workflows.evaluate.request import Request, complete_request, require_files, why_left_out
from cinerecon.workflows.evaluate.results import BRIEF, tables_of, write_results
from cinerecon.workflows.evaluate.run import Evaluation, evaluate, list_scans
from cinerecon.workflows.evaluate.score import Score, read_scores
from cinerecon.workflows.evaluate.summary import MEASURES, Summary, summarise
from cinerecon.workflows.evaluate.tables import Cell, Table

__all__ = [
    "BRIEF",
    "DEFAULT_PROFILE",
    "MEASURES",
    "PAPER_TABLES",
    "Cell",
    "Evaluation",
    "Failure",
    "Request",
    "Score",
    "Summary",
    "Table",
    "compare_files",
    "complete_request",
    "evaluate",
    "find_paper_table",
    "lay_out",
    "left_over",
    "list_scans",
    "read_scores",
    "require_files",
    "summarise",
    "tables_of",
    "tell_failures",
    "why_left_out",
    "write_results",
]
