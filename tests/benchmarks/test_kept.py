"""Rows stored in a file: a table made in parts equals the whole table."""

import pytest
from kept import KeptRows
from report import Row
from worker import Usage

COMMON = {"machine": "2 threads", "matrix": (96, 96)}


def row(anatomy, method, n_coils=1, sampling="radial:16", psnr=30.1):
    return Row(anatomy, n_coils, sampling, method, psnr, 0.9, Usage(1.5, 2.5, 300.0, 0.5, 40))


def test_rows_come_back_as_they_were(tmp_path):
    rows = [row("sax", "ktslr"), row("sax", "llr", psnr=1 / 3), row("lax", "ktslr", n_coils=8)]
    kept = KeptRows(tmp_path / "new" / "rows.json", COMMON)
    for one in rows:
        kept.add(one)
    again = KeptRows(tmp_path / "new" / "rows.json", COMMON)
    assert list(again.rows.values()) == rows
    assert ("lax", 8, "radial:16", "ktslr") in again.rows


def test_a_table_in_parts_is_in_order(tmp_path):
    methods, whole = ["zerofilled", "ktslr", "llr"], []
    for anatomy in ("sax", "lax"):
        for n_coils in (1, 8):
            for sampling in ("gaussian:8", "radial:16"):
                whole += [row(anatomy, method, n_coils, sampling) for method in methods]
    parts = sorted(whole, key=lambda one: (one.method == "zerofilled", -one.n_coils))
    for one in parts:
        KeptRows(tmp_path / "rows.json", COMMON).add(one)
    assert KeptRows(tmp_path / "rows.json", COMMON).sorted(methods) == whole


def test_rows_of_other_cases_are_not_mixed_in(tmp_path):
    KeptRows(tmp_path / "rows.json", COMMON).add(row("sax", "ktslr"))
    with pytest.raises(SystemExit, match="rows of another kind"):
        KeptRows(tmp_path / "rows.json", COMMON | {"matrix": (192, 192)})


def test_without_a_file_rows_are_kept_in_memory():
    kept = KeptRows(None, COMMON)
    kept.add(row("sax", "ktslr"))
    assert kept.sorted([]) == [row("sax", "ktslr")]
