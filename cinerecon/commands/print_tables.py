"""Print tables of results: as wide as the terminal, into a file or pipe as wide as they need."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cinerecon.commands.width import terminal_width, wrap
from cinerecon.evaluation.tables import Table
from cinerecon.evaluation.text_tables import lay_out_text

STYLES = {"": "", "caption": "italic", "head": "bold", "best": "bold", "foreign": "bright_black"}


def print_tables(tables: Sequence[Table]) -> None:
    """Print each table with its own notes; notes that all tables share follow once, after the last."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    shared = [note for note in tables[0].notes if all(note in table.notes for table in tables)] if tables else []
    for table in tables:
        for line in lay_out_text(table, terminal_width()):
            console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)))
        console.print()
        _print_notes(console, [note for note in table.notes if note not in shared])
    _print_notes(console, shared)


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(Text(wrap(note), "bright_black"))
