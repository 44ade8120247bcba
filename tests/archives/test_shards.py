"""Shards of a run, and the checks before they are joined."""

import json
import shutil

import pytest
from helpers import UNUSED_PID

from cinerecon.archives.shards import Shard, finish_shard, in_list_order, read_finished_shards, start_shard
from cinerecon.errors import ConfigError, FileError

SCANS = [f"P{number}" for number in range(7)]


@pytest.fixture
def make(tmp_path):
    """Run a shard of three; what it found is in a record."""

    def make(number, n=3, scans=SCANS, is_finished=True, **identity):
        shard = Shard(number, n)
        record = start_shard(tmp_path, "recon", shard, scans, {"model": "a"} | identity)
        (shard.folder(tmp_path, "recon") / "results.csv").write_text(f"results of {number}\n")
        if is_finished:
            finish_shard(tmp_path, record, n_results=2)

    return make


@pytest.mark.parametrize("n", [1, 2, 3, 7, 9])
def test_shards_divide_a_list_without_gap_or_overlap(n):
    parts = [Shard(number, n).part(SCANS) for number in range(1, n + 1)]
    assert sorted(scan for part in parts for scan in part) == SCANS
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="shard"):
        Shard.parse(text)


def test_finished_shards_are_read_in_order(make, tmp_path):
    for number in (3, 1, 2):
        make(number)
    partial = tmp_path / f".partial-{UNUSED_PID}-recon.jsonl"
    partial.touch()
    records = read_finished_shards(tmp_path, "recon")
    assert not partial.exists(), "left by a merge that was killed"
    assert [record.number for record in records] == [1, 2, 3]
    assert [record.scans for record in records] == [("P0", "P3", "P6"), ("P1", "P4"), ("P2", "P5")]
    assert in_list_order(records) == SCANS
    assert records[0].details == {"n_results": 2}


def test_shards_that_are_not_complete_are_refused(make, tmp_path):
    with pytest.raises(FileError, match="there are no shards"):
        read_finished_shards(tmp_path, "recon")
    make(1)
    with pytest.raises(FileError, match="2 of 3 shards are missing: 2, 3"):
        read_finished_shards(tmp_path, "recon")
    make(2)
    make(3, is_finished=False)
    with pytest.raises(FileError, match="shard 3/3 is not finished"):
        read_finished_shards(tmp_path, "recon")
    make(3)
    results = tmp_path / "shards/recon-2-of-3/results.csv"
    results.write_text("results of")
    with pytest.raises(FileError, match="records of shard 2/3 have changed since"):
        read_finished_shards(tmp_path, "recon")
    results.unlink()
    with pytest.raises(FileError, match="records of shard 2/3 have changed since"):
        read_finished_shards(tmp_path, "recon")
    (results.parent / "shard.json").write_text("{")
    with pytest.raises(FileError, match="shard 2/3 has no readable record"):
        read_finished_shards(tmp_path, "recon")


def test_a_shard_that_is_there_twice_is_refused(make, tmp_path):
    make(1)
    make(2)
    shutil.copytree(tmp_path / "shards/recon-1-of-3", tmp_path / "shards/recon-3-of-3")
    with pytest.raises(FileError, match="this is recon shard 1/3, duplicated"):
        read_finished_shards(tmp_path, "recon")
    path = tmp_path / "shards/recon-3-of-3/shard.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"number": 3}))
    with pytest.raises(FileError, match="P0 is in shard 1/3 and in shard 3/3"):
        read_finished_shards(tmp_path, "recon")


def test_shards_of_several_runs_are_refused(make, tmp_path):
    make(1)
    with pytest.raises(ConfigError, match="the folder contains shards i/3, but this is shard "):
        make(1, n=2)
    make(2, scans=[*SCANS, "P7"])
    make(3)
    with pytest.raises(ConfigError, match=r"are parts of different lists of scans \(7 and 8 scans\)"):
        read_finished_shards(tmp_path, "recon")
    make(2, model="b")
    with pytest.raises(ConfigError, match="different settings: model is a and b"):
        read_finished_shards(tmp_path, "recon")


def test_a_shard_that_starts_again_is_not_finished(make, tmp_path):
    for number in (1, 2, 3):
        make(number)
    make(2, is_finished=False)
    with pytest.raises(FileError, match="shard 2/3 is not finished"):
        read_finished_shards(tmp_path, "recon")
