"""Files are named by the shortest part of their path that is unique."""

from pathlib import Path

from cinerecon.evaluation.scan_names import labels_of


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
