"""A table of results as HTML and as plain text of a given width.

If a table is wider, its columns are split into bands below each other, or each row becomes a block of lines.
"""

import html
import math
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len

from cinerecon.evaluation.score import coils_in_words
from cinerecon.evaluation.summary import Summary
from cinerecon.words import counted

Style = Literal["", "caption", "head", "best", "foreign"]
Line = list[tuple[str, Style]]
"""Segments of a line of text with their styles, without trailing blanks."""

GAP = 2
"""Number of blanks between two columns."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    text
        Text of the cell.
    is_best
        Whether it is the best of its column, which is shown in bold.
    is_foreign
        Whether it was published elsewhere, for other data, and is shown in grey.
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
        Titles of the columns; the first column contains text.
    rows
        Rows with one cell for each column.
    notes
        Notes below the table.
    is_text
        Whether all columns contain text.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    is_text: bool = False

    def as_html(self) -> str:
        """A ``figure`` element with table, caption and notes; the classes ``best`` and ``foreign`` mark cells."""

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


def with_notes_once(tables: Sequence[Table]) -> list[Table]:
    """The tables, where notes shared by all related tables are only below the last of them.

    Tables are related if they have a note in common.
    """
    groups: list[list[int]] = []
    for number, table in enumerate(tables):
        related = [group for group in groups if any({*tables[i].notes} & {*table.notes} for i in group)]
        groups = [group for group in groups if group not in related]
        groups.append([*(i for group in related for i in group), number])
    notes = [table.notes for table in tables]
    for group in groups:
        shared = [note for note in tables[group[0]].notes if all(note in tables[i].notes for i in group)]
        for i in group:
            own = [note for note in tables[i].notes if note not in shared]
            notes[i] = (*own, *shared) if i == max(group) else tuple(own)
    return [replace(table, notes=own) for table, own in zip(tables, notes, strict=True)]


def bold_best(rows: list[list[Cell]], column: int, distances: list[float]) -> None:
    """Mark the cells with the smallest distance from the ideal, if another row with a value has a larger distance."""
    known = [distance for distance in distances if distance == distance]
    best = min(known, default=math.nan)
    if not known or max(known) == best:
        return
    for row, distance in zip(rows, distances, strict=True):
        if distance == best:
            row[column] = Cell(row[column].text, True, row[column].is_foreign)


def show_count(number: int) -> str:
    """The number of learned parameters as text, in thousands."""
    return f"{number / 1000:,.0f} k" if number else "–"


def show_difference(mean: float, low: float, high: float, *, digits: int) -> str:
    """A difference with its sign, followed by its interval, if it has one."""
    interval = "" if math.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+.{digits}f}{interval}"


def group_caption(summaries: Sequence[Summary]) -> str:
    """Caption of a group: sampling, acceleration, coils, and the largest number of slices of a method."""
    most = max(summaries, key=lambda summary: summary.n_slices)
    known = "" if math.isnan(most.acceleration) else f" (net acceleration {most.acceleration:.1f})"
    return f"{most.sampling}{known}, {coils_in_words(most.n_coils)}, {counted(most.n_slices, 'slice')}"


def lay_out_text(table: Table, width: int | None = None) -> list[Line]:
    """A table as lines of text.

    Parameters
    ----------
    table
        The table; its notes are not laid out.
    width
        Number of characters per line; None means the width of the table. Columns that do not fit follow below in
        another band, which repeats the first column. If columns contain prose or fit in no band, each row becomes a
        block of lines.
    """
    cell_widths = [max((cell_len(row[n].text) for row in table.rows), default=0) for n in range(len(table.columns))]
    if width is None:
        titles, width = [[title] for title in table.columns], sys.maxsize
    else:
        titles = list(map(wrap_title, table.columns, cell_widths))
    widths = [max(longest, *map(cell_len, lines)) for longest, lines in zip(cell_widths, titles, strict=True)]
    bands = split_into_bands(widths, width, GAP)
    if bands is None or (table.is_text and len(bands) > 1):
        body = list(_blocks(table, width))
    else:
        body = [line for band in bands for line in _band(table, band, titles, widths)]
    caption: list[Line] = [[(text, "caption")] for text in textwrap.wrap(table.caption, width) or [""]]
    return [_without_blanks(line) for line in (*caption, *body)]


def _band(table: Table, columns: list[int], titles: list[list[str]], widths: list[int]) -> Iterator[Line]:
    height = max(len(titles[column]) for column in columns)
    yield []
    for number in range(height):
        texts = [([""] * (height - len(titles[column])) + titles[column])[number] for column in columns]
        yield _line(table, columns, widths, [(text, "head") for text in texts])
    yield [("─" * (sum(widths[column] + GAP for column in columns) - GAP), "")]
    for row in table.rows:
        yield _line(table, columns, widths, [(row[column].text, _style(row[column])) for column in columns])


def _line(table: Table, columns: list[int], widths: list[int], pieces: Line) -> Line:
    """A line of aligned texts: the first column to the left, numbers to the right."""
    line: Line = []
    for column, (text, style) in zip(columns, pieces, strict=True):
        blank = " " * (widths[column] - cell_len(text))
        is_left = column == 0 or table.is_text
        line += [("" if column == 0 else " " * GAP, ""), ("" if is_left else blank, "")]
        line += [(text, style), (blank if is_left else "", "")]
    return line


def _blocks(table: Table, width: int) -> Iterator[Line]:
    """Each row as a block: its first cell, followed by a line for each further column, wrapped after its title."""
    indent, titles = 2, table.columns[1:]
    stop = indent + max(map(cell_len, titles), default=0) + GAP
    for row in table.rows:
        yield []
        yield [(row[0].text, "head")]
        for title, cell in zip(titles, row[1:], strict=True):
            lines = textwrap.wrap(cell.text, max(width - stop, 20), break_long_words=False, break_on_hyphens=False)
            for number, text in enumerate(lines):
                label = title if number == 0 else ""
                yield [(" " * indent + label.ljust(stop - indent), ""), (text, _style(cell))]


def _style(cell: Cell) -> Style:
    return "foreign" if cell.is_foreign else "best" if cell.is_best else ""


def _without_blanks(line: Line) -> Line:
    """The line without empty segments and trailing blanks."""
    pieces = [(text, style) for text, style in line if text]
    while pieces and not pieces[-1][0].strip():
        pieces.pop()
    return [*pieces[:-1], (pieces[-1][0].rstrip(), pieces[-1][1])] if pieces else []


def split_into_bands(widths: Sequence[float], limit: float, gap: float) -> list[list[int]] | None:
    """The columns of each band, in order; the first column is part of all bands.

    Parameters
    ----------
    widths
        Widths of the columns.
    limit
        Width of a band.
    gap
        Distance between two columns.

    Returns
    -------
    list or None
        Numbers of columns of each band; None if a column does not fit next to the first one.
    """
    bands, used = [[0]], widths[0]
    for column, width in enumerate(widths[1:], start=1):
        if used + gap + width > limit and len(bands[-1]) > 1:
            bands.append([0])
            used = widths[0]
        bands[-1].append(column)
        used += gap + width
        if used > limit:
            return None
    return bands if used <= limit else None


def wrap_title(title: str, width: int) -> list[str]:
    """The lines of a title above a column of this width; its longest word may be wider."""
    return textwrap.wrap(title, max(width, *(len(word) for word in title.split())), break_long_words=False)
