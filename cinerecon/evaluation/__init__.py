"""Compare methods on the same scans: scores, statistics, tables, figures and a report."""

from cinerecon.evaluation.failures import Failure, failure_table
from cinerecon.evaluation.files import compare_files
from cinerecon.evaluation.jobs import list_scans, merge_scores
from cinerecon.evaluation.paper_tables import PAPER_TABLES, find_paper_table, lay_out, left_over
from cinerecon.evaluation.request import Request, complete_request, require_files, why_left_out
from cinerecon.evaluation.results import BRIEF, tables_of, write_results
from cinerecon.evaluation.run import Evaluation, evaluate
from cinerecon.evaluation.score import Score, read_scores
from cinerecon.evaluation.summary import MEASURES, Summary, summarise
from cinerecon.evaluation.tables import Cell, Table
from cinerecon.evaluation.ventricle import function_tables
from cinerecon.metrics import DEFAULT_PROFILE

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
    "failure_table",
    "find_paper_table",
    "function_tables",
    "lay_out",
    "left_over",
    "list_scans",
    "merge_scores",
    "read_scores",
    "require_files",
    "summarise",
    "tables_of",
    "why_left_out",
    "write_results",
]
