"""LaTeX tables fit a page, and print what the cells say."""

import re
import shutil
import subprocess

import pytest

from cinerecon.evaluation.latex import LINES_OF_FLOAT, PREAMBLE, as_latex, escape_latex
from cinerecon.evaluation.paper_tables import PAPER_TABLES, lay_out
from cinerecon.evaluation.score_tables import tables_of
from cinerecon.evaluation.tables import Cell, Table

ROWS = ((Cell("<m>"), Cell("1 ± 2", True)), (Cell("n"), Cell("3", False, True)))


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("|error| 0.1", "$|$error$|$ 0.1"),
        ("[1, 2]", "{[}1, 2]"),
        ("1 [1, 2]", "1 [1, 2]"),
        ("--recon", "-{}-recon"),
        ("–", r"\textendash{}"),
        ("Müller ½ 图", "Müller 12 ?"),
    ],
)
def test_text_is_printed_as_it_is(text, latex):
    assert escape_latex(text) == latex


def test_the_best_is_bold_and_foreign_numbers_are_grey():
    latex = as_latex(Table("a_b", ("method", "x"), ROWS))
    assert r"\caption{a\_b}" in latex
    assert r"$<$m$>$ & \textbf{1 $\pm$ 2} \\" in latex
    assert r"n & \textcolor{gray}{3} \\" in latex


def test_wide_tables_are_split_and_lose_nothing(make_scores):
    (table,) = tables_of(make_scores(5, methods=("zerofilled", "ktslr")))
    latex = as_latex(table)
    tabulars = re.findall(r"\\begin\{tabular\}\{(l\w+)\}(.*?)\\end\{tabular\}", latex, re.DOTALL)
    assert len(tabulars) > 2
    assert sum(len(alignment) - 1 for alignment, _ in tabulars) == len(table.columns) - 1
    for alignment, body in tabulars:
        rows = [row.split(" & ") for row in body.split(r"\\" + "\n") if "&" in row]
        assert all(len(row) == len(alignment) for row in rows)
    for row in table.rows:
        assert all(escape_latex(cell.text).removeprefix("{[}") in latex for cell in row)
    assert latex.count(escape_latex(table.notes[0])) == 1


def test_tall_tables_go_on_in_another_float():
    rows = tuple((Cell(f"method {n}"), Cell(f"{n}.0")) for n in range(2 * LINES_OF_FLOAT))
    latex = as_latex(Table("many", ("method", "x"), rows))
    floats = latex.split(r"\end{table}")[:-1]
    assert len(floats) == 3
    assert all(part.count(r"\\") <= LINES_OF_FLOAT for part in floats)
    assert [r"\addtocounter{table}{-1}" in part for part in floats] == [False, True, True]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_without_overfull_lines(make_scores, tmp_path):
    scores = make_scores(5, methods=("zerofilled", "ktslr", "a_long_name_of_a_run-folder--that_goes_on_and_on"))
    tables = [*tables_of(scores), *(lay_out(layout, scores)[0] for layout in PAPER_TABLES.values())]
    tables.append(Table("odd é “x” ½ 图 β ~^\\ [x] <a|b>", ("[method]", "x | y"), ROWS, ('`quoted\' "note"',)))
    packages = re.findall(r"\\usepackage\{\w+\}", PREAMBLE)
    body = "\n\\clearpage\n".join([PREAMBLE, *map(as_latex, tables)])
    text = r"\documentclass{article}" + "".join(packages) + rf"\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    assert not re.search("Overfull|too large|Missing character", (tmp_path / "tables.log").read_text(errors="replace"))
