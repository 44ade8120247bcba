"""Compare methods on the same scans: scores, statistics, tables, figures and a report."""

from cinerecon.workflows.evaluate.papers import PAPER_TABLES, find_paper_table, lay_out
from cinerecon.workflows.evaluate.request import Request, complete_request
from cinerecon.workflows.evaluate.results import BRIEF, tables_of, write_results, write_scores
from cinerecon.workflows.evaluate.run import evaluate, list_scans
from cinerecon.workflows.evaluate.score import Score, read_scores
from cinerecon.workflows.evaluate.summary import MEASURES, Summary, summarise
from cinerecon.workflows.evaluate.tables import Cell, Table

__all__ = [
    "BRIEF",
    "MEASURES",
    "PAPER_TABLES",
    "Cell",
    "Request",
    "Score",
    "Summary",
    "Table",
    "complete_request",
    "evaluate",
    "find_paper_table",
    "lay_out",
    "list_scans",
    "read_scores",
    "summarise",
    "tables_of",
    "write_results",
    "write_scores",
]
