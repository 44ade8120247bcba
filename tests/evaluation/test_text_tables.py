"""Tables as text: nothing wider than the line, no cell in pieces, nothing lost."""

import pytest

from cinerecon.evaluation.score_tables import BRIEF, tables_of
from cinerecon.evaluation.tables import Cell, Table, lay_out_text, with_notes_once

SMALL = Table(
    "two methods",
    ("method", "PSNR [dB]", "time [s]"),
    ((Cell("zerofilled"), Cell("20.1"), Cell("1")), (Cell("ktslr"), Cell("31.25", True), Cell("197", False, True))),
)


def text(table, width=None):
    return ["".join(piece for piece, _ in line) for line in lay_out_text(table, width)]


def test_a_table_that_fits_is_one_band():
    assert text(SMALL, 60) == [
        "two methods",
        "",
        "             PSNR  time",
        "method       [dB]   [s]",
        "───────────────────────",
        "zerofilled   20.1     1",
        "ktslr       31.25   197",
    ]
    styles = {piece: style for line in lay_out_text(SMALL) for piece, style in line if style}
    assert (styles["31.25"], styles["197"], styles["method"]) == ("best", "foreign", "head")


def test_columns_that_do_not_fit_follow_below():
    assert text(SMALL, 18)[-5:] == [
        "            time",
        "method       [s]",
        "────────────────",
        "zerofilled     1",
        "ktslr        197",
    ]
    assert text(SMALL, 18)[2:7] == [
        "             PSNR",
        "method       [dB]",
        "─────────────────",
        "zerofilled   20.1",
        "ktslr       31.25",
    ]


def test_where_no_column_fits_each_row_is_a_block():
    assert text(SMALL, 14)[2:5] == ["zerofilled", "  PSNR [dB]  20.1", "  time [s]   1"]


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_all_cells_of_scores_are_whole(make_scores, width):
    (table,) = tables_of(make_scores(5, methods=("zerofilled", "ktslr", "slrnet")), measures=BRIEF)
    lines = text(table, width)
    assert max(map(len, lines)) <= (width or 400)
    assert lines == [line.rstrip() for line in lines]
    for row in table.rows:
        for cell in row[1:]:
            assert any(line.startswith(row[0].text) and cell.text in line for line in lines)


def test_prose_is_wrapped_under_its_title():
    table = Table(
        "failed", ("scan", "why"), ((Cell("one"), Cell("the file is damaged: " + "bad " * 12)),), is_text=True
    )
    assert text(table, 40)[2:6] == [
        "one",
        "  why  the file is damaged: bad bad bad",
        "       bad bad bad bad bad bad bad bad",
        "       bad",
    ]
    assert len(text(table, 100)) == 5  # fits as a table


def test_notes_that_related_tables_share_are_kept_once():
    notes = [("failed: a", "mean", "heart"), ("mean", "heart", "marked: b"), ("bias",), ("bias", "threshold")]
    tables = [Table(str(n), ("method",), (), texts) for n, texts in enumerate(notes)]
    assert [table.notes for table in with_notes_once(tables)] == [
        ("failed: a",),
        ("marked: b", "mean", "heart"),
        (),
        ("threshold", "bias"),
    ]
    assert with_notes_once(tables[:1]) == tables[:1] and with_notes_once([]) == []
