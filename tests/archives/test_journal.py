"""Journals of results."""

import pytest

from cinerecon.archives.journal import Journal
from cinerecon.io.atomic import append_text
from cinerecon.io.csv_file import append_csv


def test_entries_come_back_the_latest_of_each_key(tmp_path):
    journal = Journal(tmp_path / "deep/a.jsonl")
    for key, value in (("a", 1), ("b\n", {"x": [1.5, None]}), ("a", 2)):
        journal.add(key, value)
    again = Journal(journal.path)
    assert {key: again.get(key) for key in again} == {"a": 2, "b\n": {"x": [1.5, None]}}
    assert again.get("c") is None
    assert len(journal.path.read_text().splitlines()) == 3, "nothing is rewritten"


@pytest.mark.parametrize("n_bytes", [1, 5, 12])
def test_a_line_that_was_cut_short_costs_no_other(tmp_path, n_bytes):
    journal = Journal(tmp_path / "a.jsonl")
    journal.add("a", "first")
    journal.add("b", "second")
    journal.path.write_bytes(journal.path.read_bytes()[:-n_bytes])
    again = Journal(journal.path)
    again.add("c", "third")
    present = Journal(journal.path)
    assert ("a" in present, "b" in present, present.get("c")) == (True, n_bytes == 1, "third")


def test_appending_reads_one_byte_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "long.txt"
    path.write_text("x" * 10**6)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("the file is read"))
    append_text(path, "next\n")
    monkeypatch.undo()
    assert path.read_text() == "x" * 10**6 + "\nnext\n"


def test_a_table_gets_its_header_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("")
    append_csv(path, ["a", "b"], [[1, 2]])
    append_csv(path, ["a", "b"], [[3, 4]])
    assert path.read_text().split() == ["a,b", "1,2", "3,4"]
