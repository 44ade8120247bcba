"""A table of results, and the same table as HTML."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cinerecon.evaluation.score import coils_in_words
from cinerecon.evaluation.summary import Summary


@dataclass(frozen=True)
class Cell:
    """One entry.

    Attributes
    ----------
    text
        Text of the cell.
    is_best
        The best of its column: shown bold.
    is_foreign
        Published elsewhere, on other data: shown grey.
    """

    text: str
    is_best: bool = False
    is_foreign: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of results.

    Attributes
    ----------
    caption
        Caption of the table.
    columns
        Titles; the first column is text.
    rows
        As many cells each as there are columns.
    notes
        Notes below the table.
    is_text
        All columns are text.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    is_text: bool = False

    def as_html(self) -> str:
        """A ``figure`` that holds table, caption and notes; classes ``best`` and ``foreign`` mark cells."""

        def show(cell: Cell) -> str:
            names = [name for name, on in (("best", cell.is_best), ("foreign", cell.is_foreign)) if on]
            mark = f' class="{" ".join(names)}"' if names else ""
            return f"<td{mark}>{html.escape(cell.text)}</td>"

        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        rows = "\n".join(f"<tr>{''.join(map(show, row))}</tr>" for row in self.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        caption, kind = html.escape(self.caption), " class='text'" if self.is_text else ""
        return (
            f"<figure class='table'><h3>{caption}</h3><div class='wide'><table{kind}>\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>{rows}</tbody></table></div><figcaption>{notes}</figcaption></figure>"
        )


def bold_best(rows: list[list[Cell]], column: int, distances: list[float]) -> None:
    """Mark the cell of the row that is nearest to the best there could be; nothing where one row alone has a value."""
    known = [(distance, row) for row, distance in enumerate(distances) if distance == distance]
    if len(known) < 2:
        return
    _, best = min(known)
    cell = rows[best][column]
    rows[best][column] = Cell(cell.text, True, cell.is_foreign)


def show_count(number: int) -> str:
    """Learned numbers, in thousands."""
    return f"{number / 1000:,.0f} k" if number else "–"


def count_slices(number: int) -> str:
    """A count with its noun."""
    return f"{number} slice{'' if number == 1 else 's'}"


def describe_group(summaries: Sequence[Summary]) -> str:
    """Caption of a group: sampling, acceleration, coils, and the largest number of slices of a method."""
    most = max(summaries, key=lambda summary: summary.n_slices)
    known = "" if math.isnan(most.acceleration) else f" (net acceleration {most.acceleration:.1f})"
    return f"{most.sampling}{known}, {coils_in_words(most.n_coils)}, {count_slices(most.n_slices)}"
