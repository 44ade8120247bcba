"""Print tables of results: as wide as the terminal, into a file or pipe as wide as they need."""

import os
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cinerecon.evaluation.tables import Table
from cinerecon.evaluation.text_tables import lay_out_text

STYLES = {"": "", "caption": "italic", "head": "bold", "best": "bold", "foreign": "bright_black"}


def print_tables(tables: Sequence[Table]) -> None:
    """Print each table with its own notes; notes that all tables share follow once, after the last."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else None
    shared = [note for note in tables[0].notes if all(note in table.notes for table in tables)] if tables else []
    for table in tables:
        for line in lay_out_text(table, width):
            console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)))
        console.print()
        _print_notes(console, [note for note in table.notes if note not in shared], width)
    _print_notes(console, shared, width)


def _print_notes(console: Console, notes: Sequence[str], width: int | None) -> None:
    for note in notes:
        text = note if width is None else textwrap.fill(note, width, subsequent_indent="  ", break_long_words=False)
        console.print(Text(text, "bright_black"))
