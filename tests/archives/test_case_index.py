"""The index survives an interruption at any byte."""

from dataclasses import replace

import pytest

from cinerecon.archives.case_index import INDEX, IndexRow, append_rows, list_cases, read_index, write_index
from cinerecon.errors import FileError
from cinerecon.io.checksums import hash_file

HASH = "0123456789abcdef" * 4
ROW = IndexRow("train/a.h5", "train", "P01", "x, y.h5", 0, 0, 1, 25, 8, 160, 192, 1.0, "", HASH, HASH, HASH)
OTHER = replace(ROW, case="test/b.h5", split="test", marks="simulated; zero-padded")


def test_rows_come_back(tmp_path):
    assert read_index(tmp_path) == []
    append_rows(tmp_path, [ROW])
    append_rows(tmp_path, [OTHER])
    assert read_index(tmp_path) == [ROW, OTHER]
    write_index(tmp_path, [ROW, OTHER])
    assert read_index(tmp_path) == [OTHER, ROW], "sorted by case"


def test_a_line_cut_short_is_left_out(tmp_path):
    append_rows(tmp_path, [ROW, OTHER])
    content = (tmp_path / INDEX).read_bytes()
    second = content.index(b"test/b.h5")
    for length in range(second, len(content) - 3):
        (tmp_path / INDEX).write_bytes(content[:length])
        assert read_index(tmp_path) == [ROW]


def test_cases_by_split(tmp_path):
    with pytest.raises(FileError, match=r"there is no index\.csv"):
        list_cases(tmp_path)
    write_index(tmp_path, [ROW, OTHER])
    assert list_cases(tmp_path) == [tmp_path / "test/b.h5", tmp_path / "train/a.h5"]
    assert list_cases(tmp_path, "test") == [tmp_path / "test/b.h5"]
    with pytest.raises(FileError, match="no case of the split 'val'") as caught:
        list_cases(tmp_path, "val")
    assert str(tmp_path / "train") in caught.value.hint


def test_the_hash_is_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
