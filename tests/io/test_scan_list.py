"""Lists of scans."""

from pathlib import Path

import pytest

from cinerecon.errors import FileError
from cinerecon.io.scan_list import is_list, labels_of, read_scan_list, with_lists


def test_paths_are_relative_to_the_list(tmp_path):
    path = tmp_path / "lists/test.txt"
    path.parent.mkdir()
    path.write_text("# scans of the test set\n\n../a.h5\n  b c.h5  \n/data/d.h5\r\n../a.h5\n", encoding="utf-8-sig")
    assert read_scan_list(path) == [path.parent / "../a.h5", path.parent / "b c.h5", Path("/data/d.h5")]


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
        (b"", "names no scan"),
        (b"# none\n", "names no scan"),
        (b"\x89HDF\xff", "no list"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, content, match):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=match):
        read_scan_list(path)


def labels(*texts):
    return list(labels_of(map(Path, texts)).values())


def test_a_stem_that_is_unique_stays():
    assert labels("/x/a.h5", "/y/b.h5") == ["a", "b"]


def test_folders_are_added_where_they_are_needed():
    found = labels("/t/P1/cine.mat", "/t/P2/cine.mat", "/v/P1/cine.mat", "/v/P1/other.mat")
    assert found == ["t/P1/cine", "P2/cine", "v/P1/cine", "other"]


def test_files_of_one_stem_are_distinguished_by_their_suffix():
    assert labels("/x/a.h5", "/x/a.mat") == ["a.h5", "a.mat"]
    assert labels("a.mat", "x/a.mat", "/a.mat") == ["a", "x/a", "a"], "paths that say no more"
