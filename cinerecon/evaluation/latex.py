"""LaTeX tables that fit a page: wide tables are split into bands of columns, long tables into several floats."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from cinerecon.evaluation.tables import Cell, Table, split_into_bands, wrap_title

PREAMBLE = r"""% In the preamble: \usepackage{booktabs} and \usepackage{xcolor}; no other package is needed.
% Every table fits a text width of 345 pt (article, 10 pt, one column).
"""
SYMBOLS = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "–": r"\textendash{}",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "−": "$-$",
}
SYMBOLS |= {character: "\\" + character for character in "&%$#_{}"}
SYMBOLS |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"}
SYMBOLS |= {"≤": r"$\le$", "≥": r"$\ge$", "·": r"$\cdot$", "→": r"$\to$", "°": r"$^\circ$", "²": "$^2$", "µ": r"$\mu$"}
SYMBOLS |= {"“": "``", "”": "''", "’": "'", "…": r"\ldots{}"}
LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
"""Letters outside ASCII that LaTeX prints in any font encoding."""

TEXT_WIDTH_PT, GAP_PT = 340.0, 8.0
DIGIT_PT, SYMBOL_PT, BOLD = 4.3, 7.0, 1.18
"""Width of digits and of mathematical symbols at ``\\footnotesize`` [points]; ratio of bold to normal width."""
WIDEST_CELL = 32
"""Number of characters after which the text of a cell is wrapped; two columns of this width fit side by side."""
LINES_OF_FLOAT, NOTE_LINES, NOTE_WIDTH = 40, 14, 85
"""Number of lines of rows and titles in a float, of lines of notes below them, and of characters in a line of notes."""


def as_latex(table: Table) -> str:
    """``table`` environments that fit a page; see `PREAMBLE` for the required packages."""
    floats = list(_floats(table))
    n_note_lines = sum(len(textwrap.wrap(note, NOTE_WIDTH)) for note in table.notes)
    notes = [rf"\par\footnotesize {escape_latex(note)}" for note in table.notes]
    lines: list[str] = []
    for number, tabulars in enumerate(floats):
        is_last = number == len(floats) - 1
        caption = escape_latex(table.caption) + (", continued" if number else "")
        same_number = [r"\addtocounter{table}{-1}"] if number else []
        lines += [r"\begin{table}", r"\centering", *same_number, rf"\caption{{{caption}}}"]
        lines += [r"\footnotesize", rf"\setlength{{\tabcolsep}}{{{GAP_PT / 2:g}pt}}", *tabulars]
        lines += notes if is_last and n_note_lines <= NOTE_LINES else []
        lines.append(r"\end{table}")
    if n_note_lines > NOTE_LINES:
        lines += ["{%", *notes, r"\par}"]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Escape text so that LaTeX prints it literally; unsupported letters become similar letters or question marks."""
    printed = "".join(SYMBOLS.get(character) or _printable(character) for character in text)
    printed = re.sub("-(?=-)", "-{}", printed)  # otherwise two hyphens become a dash
    return re.sub(r"^\[", "{[}", printed)  # otherwise it is an argument of the preceding line break


def _printable(character: str) -> str:
    if character in LETTERS or (character.isascii() and character.isprintable()):
        return character
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return escape_latex(plain) if plain and plain.isprintable() else "?"


def _floats(table: Table) -> Iterator[list[str]]:
    """The tabulars of each float."""
    widths = [_column_width(table, column) for column in range(len(table.columns))]
    bands = split_into_bands(widths, TEXT_WIDTH_PT, GAP_PT) or [[0, n] for n in range(1, len(widths))]
    tabulars: list[str] = []
    n_lines = 0
    for columns in bands:
        for rows in _parts(table.rows, columns):
            added = 3 + sum(_height(row, columns) for row in rows)
            if tabulars and n_lines + added > LINES_OF_FLOAT:
                yield tabulars
                tabulars, n_lines = [], 0
            tabulars += [*([r"\par\medskip"] if tabulars else []), *_tabular(table, columns, rows, widths)]
            n_lines += added
    yield tabulars


def _parts(rows: Sequence[Sequence[Cell]], columns: list[int]) -> Iterator[list[Sequence[Cell]]]:
    """The rows that fit into one float each."""
    part: list[Sequence[Cell]] = []
    n_lines = 0
    for row in rows:
        if part and n_lines + _height(row, columns) > LINES_OF_FLOAT - 3:
            yield part
            part, n_lines = [], 0
        part.append(row)
        n_lines += _height(row, columns)
    yield part


def _tabular(table: Table, columns: list[int], rows: Sequence[Sequence[Cell]], widths: Sequence[float]) -> list[str]:
    alignment = "".join("l" if column == 0 or table.is_text else "r" for column in columns)
    sides = dict(zip(columns, alignment, strict=True))
    titles = [_stack(wrap_title(table.columns[n], int(widths[n] / DIGIT_PT)), side) for n, side in sides.items()]
    body = [" & ".join(_show(row[n], side) for n, side in sides.items()) + r" \\" for row in rows]
    head = " & ".join(titles) + r" \\"
    begin = rf"\begin{{tabular}}{{{alignment}}}"
    return [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]


def _show(cell: Cell, side: str) -> str:
    text = _stack(_lines(cell.text), side)
    text = rf"\textbf{{{text}}}" if cell.is_best else text
    return rf"\textcolor{{gray}}{{{text}}}" if cell.is_foreign and text else text


def _stack(lines: list[str], side: str) -> str:
    stacked = r"\\".join(map(escape_latex, lines))
    return rf"\shortstack[{side}]{{{stacked}}}" if len(lines) > 1 else stacked


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, WIDEST_CELL)


def _height(row: Sequence[Cell], columns: list[int]) -> int:
    return max(len(_lines(row[column].text)) or 1 for column in columns)


def _column_width(table: Table, column: int) -> float:
    """Width of a column [points]: that of the widest line of its cells and title."""
    lines = [(line, cell.is_best) for row in table.rows for cell in [row[column]] for line in _lines(cell.text)]
    widest = max((_width(line, is_bold=is_bold) for line, is_bold in lines), default=0.0)
    return max(widest, *(_width(line) for line in wrap_title(table.columns[column], int(widest / DIGIT_PT))))


def _width(text: str, *, is_bold: bool = False) -> float:
    points = sum(SYMBOL_PT if SYMBOLS.get(character, "").startswith("$") else DIGIT_PT for character in text)
    return points * (BOLD if is_bold else 1.0)
