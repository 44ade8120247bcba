"""Lists of scans."""

import os
from pathlib import Path

import pytest

from cinerecon.archives.scan_list import is_list, labels_of, read_scan_list, with_lists
from cinerecon.errors import FileError


def test_paths_are_relative_to_the_list(tmp_path):
    path = tmp_path / "lists/test.txt"
    path.parent.mkdir()
    path.write_text("# scans of the test set\n\n../a.h5\n  b c.h5  \n/data/d.h5\r\n../a.h5\n", encoding="utf-8-sig")
    assert read_scan_list(path) == [tmp_path / "a.h5", path.parent / "b c.h5", Path("/data/d.h5")]


def test_lists_and_scans_are_given_together(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"{name}.h5\n")
    paths = with_lists([Path("first.h5"), Path(f"@{tmp_path}/one.txt")], [tmp_path / "two.txt"])
    assert paths == (Path("first.h5"), tmp_path / "one.h5", tmp_path / "two.h5")
    assert not is_list(Path("./@scan.h5").absolute())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "there is no such list"),
        (b"", "contains no scan"),
        (b"# none\n", "contains no scan"),
        (b"\x89HDF\r\n\x1a\n\xff", "not a list"),
        ("P1/cine.h5\n".encode("utf-16"), "not a list"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, match):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=match):
        read_scan_list(path)


def test_lists_of_other_systems_are_read(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf# from Windows\r\n\r\n  a.h5 \r\nb,\x85 \xe9.h5\rc.h5\r\n")
    names = [os.fsencode(path.name) for path in read_scan_list(tmp_path / "list.txt")]
    assert names == [b"a.h5", b"b,\x85 \xe9.h5", b"c.h5"]


def test_a_file_is_listed_once_by_any_spelling_unless_a_link_leads_elsewhere(tmp_path):
    for folder in ("P1", "P2/below"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "cine.h5").touch()
    (tmp_path / "link").symlink_to("P2/below")
    (tmp_path / "list.txt").write_text("P1/cine.h5\n./P1/cine.h5\nP2/../P1/cine.h5\nlink/../P1/cine.h5\n")
    assert read_scan_list(tmp_path / "list.txt") == [tmp_path / "P1/cine.h5", tmp_path / "link/../P1/cine.h5"]
    (tmp_path / "P2/P1").mkdir()  # what the last line leads to is another file, and keeps its path
    (tmp_path / "P2/P1/cine.h5").touch()
    assert read_scan_list(tmp_path / "list.txt")[1].resolve() == tmp_path / "P2/P1/cine.h5"
    assert with_lists([tmp_path / "P2/../P1/cine.h5"]) == (tmp_path / "P1/cine.h5",)


def labels(*texts):
    return list(labels_of(map(Path, texts)).values())


def test_a_stem_that_is_unique_stays():
    assert labels("/x/a.h5", "/y/b.h5") == ["a", "b"]


def test_folders_are_added_where_they_are_needed():
    found = labels("/t/P1/cine.mat", "/t/P2/cine.mat", "/v/P1/cine.mat", "/v/P1/other.mat")
    assert found == ["t/P1/cine", "P2/cine", "v/P1/cine", "other"]


def test_files_of_one_stem_are_distinguished_by_their_suffix():
    assert labels("/x/a.h5", "/x/a.mat") == ["a.h5", "a.mat"]
    assert labels("/a.mat", "/x/a.mat", "/x/A.mat") == ["a", "a.mat-69d05eaa", "A.mat-65ada9ef"]


def test_folders_that_differ_in_case_alone_are_distinguished_by_a_checksum():
    found = labels("/data/P1/cine.h5", "/data/p1/cine.h5", "/data/P2/cine.h5")
    assert found == ["P1/cine-7403417d", "p1/cine-ab792f76", "cine"]
    assert found[:2] == labels("/data/p1/cine.h5", "/data/P1/cine.h5")[::-1]


def test_a_relative_path_is_the_same_scan_as_the_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert labels("a.mat", "/other/a.mat", "x/a.mat") == [f"{tmp_path.name}/a", "other/a", "x/a"]


def test_no_name_leads_out_of_the_folder_of_results(tmp_path, monkeypatch):
    (tmp_path / "work/P1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    paths = ["P1/cine.h5", "../P1/cine.h5", "../../P1/cine.h5", "P2/cine.h5"]
    names = labels(*paths)
    assert not any(".." in name for name in names)
    assert len(set(names)) == len(names)
