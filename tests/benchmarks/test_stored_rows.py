"""Rows stored in a file: a table made in parts equals the whole table."""

import pytest
from classical_tables import Row
from stored_rows import StoredRows
from usage import Usage

from cinerecon.errors import FileError

COMMON = {"machine": "2 threads", "matrix": (96, 96)}


def row(anatomy, method, n_coils=1, sampling="radial:16", psnr=30.1):
    return Row(anatomy, n_coils, sampling, method, psnr, 0.9, Usage(1.5, 2.5, 300.0, 0.5, 40))


def test_rows_come_back_as_they_were(tmp_path):
    rows = [row("sax", "ktslr"), row("sax", "llr", psnr=1 / 3), row("lax", "ktslr", n_coils=8)]
    stored = StoredRows(tmp_path / "new" / "rows.json", COMMON)
    for item in rows:
        stored.add(item)
    again = StoredRows(tmp_path / "new" / "rows.json", COMMON)
    assert list(again.rows.values()) == rows
    assert ("lax", 8, "radial:16", "ktslr") in again.rows


def test_labels_of_earlier_versions_are_read(tmp_path):
    StoredRows(tmp_path / "rows.json", COMMON).add(row("sax", "released, held"))
    assert list(StoredRows(tmp_path / "rows.json", COMMON).rows.values()) == [row("sax", "released (fixed penalties)")]


def test_a_table_in_parts_is_in_order(tmp_path):
    methods, whole = ["zerofilled", "ktslr", "llr"], []
    for anatomy in ("sax", "lax"):
        for n_coils in (1, 8):
            for sampling in ("gaussian:8", "radial:16"):
                whole += [row(anatomy, method, n_coils, sampling) for method in methods]
    parts = sorted(whole, key=lambda item: (item.method == "zerofilled", -item.n_coils))
    for item in parts:
        StoredRows(tmp_path / "rows.json", COMMON).add(item)
    assert StoredRows(tmp_path / "rows.json", COMMON).sorted(methods) == whole


def test_rows_of_other_cases_are_not_mixed_in(tmp_path):
    StoredRows(tmp_path / "rows.json", COMMON).add(row("sax", "ktslr"))
    with pytest.raises(FileError, match="rows with other properties"):
        StoredRows(tmp_path / "rows.json", COMMON | {"matrix": (192, 192)})


def test_without_a_file_rows_are_stored_in_memory():
    stored = StoredRows(None, COMMON)
    stored.add(row("sax", "ktslr"))
    assert stored.sorted([]) == [row("sax", "ktslr")]
