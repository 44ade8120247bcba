"""A scan keeps its name in an output folder."""

from itertools import permutations

import pytest

from cinerecon.archives.scan_list import labels_of
from cinerecon.archives.scan_names import NAMES, ScanNames
from cinerecon.archives.shards import Shard


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / f"data/{name}.h5" for name in ("P1/cine", "P2/cine", "P3/cine", "P3/other")]
    for path in paths:
        touch(path)
    return paths


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names_of(output, paths):
    return ScanNames(output, "recon").keep(labels_of(paths))


def test_a_scan_keeps_its_name_when_others_are_added(tmp_path, paths):
    output = tmp_path / "out"
    first = names_of(output, paths[:1])
    assert list(first.values()) == ["cine"]
    ScanNames(output, "recon").record(first)
    assert list(names_of(output, paths).values()) == ["cine", "P2/cine", "P3/cine", "other"]
    assert list(names_of(output, paths[1:2]).values()) == ["P2/cine"], "the short name is taken"
    assert list(names_of(None, paths[1:2]).values()) == ["cine"]


def test_names_are_the_same_whichever_shard_has_started(tmp_path, paths):
    """Those of a list do not depend on the shards whose names are recorded by then, nor on their order."""
    earlier = {paths[3]: "P2/cine", tmp_path / "former/cine.h5": "P3/cine"}
    touch(tmp_path / "former/cine.h5")
    expected = None
    for number, order in enumerate(permutations(range(1, 4))):
        output = tmp_path / f"out{number}"
        ScanNames(output, "recon").record(earlier)
        for i in order:
            names = names_of(output, paths)
            expected = expected or names
            assert names == expected
            part = Shard(i, 3).part(paths)
            ScanNames(output, "recon").record({path: names[path] for path in part}, Shard(i, 3))
        ScanNames(output, "recon").merge()
        assert names_of(output, paths) == expected
        assert len((output / NAMES).read_text().splitlines()) == 5
    assert list(expected.values()) == ["P1/cine", "data/P2/cine", "data/P3/cine", "P2/cine"]


def test_no_two_scans_have_names_that_are_one_file_on_some_systems(tmp_path):
    names = labels_of([tmp_path / name for name in ("a/Cine.h5", "b/cine.H5", "c/x.h5", "c/X.dat")])
    assert list(names.values()) == ["a/Cine", "b/cine", "x.h5", "X.dat"]
    touch(tmp_path / "a/Cine.h5")
    ScanNames(tmp_path, "recon").record({tmp_path / "a/Cine.h5": "Cine"})
    assert list(names_of(tmp_path, [tmp_path / "b/cine.h5"]).values()) == ["b/cine"]
    for number in range(9):
        touch(tmp_path / f"{number}")
    every = {tmp_path / f"{number}": name for number, name in enumerate(_suffixes(tmp_path / "b/cine"))}
    ScanNames(tmp_path, "recon").record(every)
    (name,) = names_of(tmp_path, [tmp_path / "b/cine.h5"]).values()
    assert name.startswith("cine-")


def _suffixes(path):
    parts = path.parts[1:]
    return ["/".join(parts[n:]) for n in range(len(parts))]


def test_a_scan_that_was_moved_keeps_its_name_and_the_former_place_has_none(tmp_path, paths):
    output = tmp_path / "out"
    ScanNames(output, "recon").record({paths[0]: "cine"})
    moved = paths[0].rename(tmp_path / "cine.h5")
    names = names_of(output, [moved])
    assert names == {moved: "cine"}
    ScanNames(output, "recon").record(names)
    touch(paths[0])
    assert names_of(output, [paths[0], moved]) == {paths[0]: "P1/cine", moved: "cine"}
    assert names_of(output, [paths[0]]) == {paths[0]: "P1/cine"}


def test_names_hold_from_another_working_folder_and_after_a_move(tmp_path, paths, monkeypatch):
    output = tmp_path / "out"
    ScanNames(output, "recon").record({paths[0]: "cine"})
    monkeypatch.chdir(tmp_path)
    relative = paths[0].relative_to(tmp_path)
    assert names_of(output.relative_to(tmp_path), [relative, paths[1]]) == {relative: "cine", paths[1]: "P2/cine"}
    tmp_path.rename(tmp_path.with_name("moved"))
    moved = tmp_path.with_name("moved")
    assert list(names_of(moved / "out", [moved / "data/P1/cine.h5", moved / "data/P2/cine.h5"]).values()) == [
        "cine",
        "P2/cine",
    ]
    moved.rename(tmp_path)
