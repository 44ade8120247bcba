"""Shards of a batch of reconstructions: joined, they are the batch; killed, they continue."""

import os
import sys
from functools import partial

import h5py
import numpy as np
import pytest
from helpers import counted
from small_archive import N_SCANS, kill_and_continue, make_archive

from cinerecon.archives.journal import Journal
from cinerecon.archives.scan_list import read_scan_list
from cinerecon.archives.shards import Shard
from cinerecon.errors import FileError
from cinerecon.io.export import FORMATS
from cinerecon.reconstruction import batch_run
from cinerecon.reconstruction import run as run_module
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.record import RECORD, merge_batch
from cinerecon.reconstruction.request import ReconRequest

N = 2


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"))


def run(archive, output, shard=None, models=("zerofilled",), **settings):
    scans = read_scan_list(archive / "list.txt")
    common = ReconRequest(scans[0], models[0], resume=True, csm="walsh", **settings)
    return run_batch(plan_batch(scans, models, [f"{output}/"], [".npz"], common, shard))


def results(output):
    """The images, and the record without times."""
    journal = Journal(output / "recon.jsonl")
    entries = [journal.get(key) for key in journal]
    for entry in entries:
        del entry["checksum"], entry["settings"]
        entry["figures"].pop("seconds", None)
        entry["scan"] = (output / entry["scan"]).resolve()
    images = {path.relative_to(output): np.load(path)["image"] for path in sorted(output.glob("P*/*.npz"))}
    return entries, images


def assert_same(output, other):
    (entries, images), (expected_entries, expected) = results(output), results(other)
    assert entries == expected_entries
    assert list(images) == list(expected)
    assert all(np.array_equal(images[path], expected[path]) for path in expected)


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    outcomes = run(archive, output)
    assert [outcome.name for outcome in outcomes] == [f"P{number}/cine" for number in range(N_SCANS)]
    assert [outcome.error is None for outcome in outcomes] == [True, True, True, False, True]
    return output


def test_merged_shards_are_the_batch(archive, whole, tmp_path):
    run(archive, tmp_path, Shard(2, N))
    with pytest.raises(FileError, match="1 of 2 shards is missing: 1"):
        merge_batch(tmp_path)
    run(archive, tmp_path, Shard(1, N))
    merge_batch(tmp_path)
    assert_same(tmp_path, whole)
    before = (tmp_path / "recon.jsonl").read_bytes()
    outcomes = merge_batch(tmp_path)
    assert (tmp_path / "recon.jsonl").read_bytes() == before, "merging again changes nothing"
    assert [bool(outcome.error) for outcome in outcomes] == [False, False, False, True, False]


@pytest.mark.slow
def test_a_shard_that_is_killed_at_any_write_continues(archive, whole, tmp_path):
    def assert_merged(output, _):
        assert_same(output, whole)
        assert not list(output.rglob("*.slices-*")), "nothing is left over"

    kill_and_continue(tmp_path, partial(run, archive), merge_batch, assert_merged, n_merge_writes=1)


def test_a_shard_opens_its_own_scans_once_and_none_again(archive, tmp_path):
    functions = [(run_module, "open_request_scan"), (h5py, "File"), (batch_run, "fingerprint")]
    with counted(*functions) as counts:
        run(archive, tmp_path, Shard(1, N))
    n_own = len(Shard(1, N).part(range(N_SCANS)))
    assert (counts["open_request_scan"], counts["fingerprint"]) == (n_own, 1), (
        "weights are hashed once, not for each scan"
    )
    with counted(*functions) as counts:
        outcomes = run(archive, tmp_path, Shard(1, N))
    assert (counts["open_request_scan"], counts["File"], counts["fingerprint"]) == (0, 0, 1)
    assert [outcome.is_earlier for outcome in outcomes] == [True] * n_own


def test_a_record_grows_by_one_line_a_scan(archive, tmp_path, monkeypatch):
    """The time of recording does not depend on the number of scans before."""
    replace = Journal.replace

    def replace_others(journal, entries):
        assert journal.path.name != RECORD, "the record is written again"
        replace(journal, entries)

    monkeypatch.setattr(Journal, "replace", replace_others)
    run(archive, tmp_path)
    assert len((tmp_path / "recon.jsonl").read_text().splitlines()) == N_SCANS


def test_a_shard_continues_from_a_merged_run(archive, whole, tmp_path):
    run(archive, tmp_path)
    for number in (1, 2):
        outcomes = run(archive, tmp_path, Shard(number, N))
        assert all(outcome.is_earlier for outcome in outcomes if outcome.error is None)
    merge_batch(tmp_path)
    assert_same(tmp_path, whole)


def test_images_of_other_settings_are_not_taken_for_finished(archive, tmp_path):
    def outcomes(**settings):
        return [(str(o.error).partition(", but ")[2][:47], o.is_earlier) for o in run(archive, tmp_path, **settings)][
            :3
        ]

    assert outcomes() == [("", False)] * 3
    assert outcomes(undersample="gaussian:2") == [("was made with the default of --undersample, not", False)] * 3
    assert outcomes() == [("", True)] * 3, "the images of before are still known"


def test_a_finished_scan_takes_few_calls_of_the_system_and_no_look_up_of_packages(archive, tmp_path, monkeypatch):
    """An archive of 20,000 scans is resumed within seconds."""
    run(archive, tmp_path)
    states = []
    stat = batch_run.Path.stat
    monkeypatch.setattr(batch_run.Path, "stat", lambda path, **options: states.append(path) or stat(path, **options))
    monkeypatch.setattr("importlib.metadata.distribution", None)
    outcomes = run(archive, tmp_path)
    assert [outcome.is_earlier for outcome in outcomes] == [True, True, True, False, True]
    finished = [path for path in states if "P1" in path.parts]
    assert 0 < len(finished) <= 12


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of files are Unicode elsewhere")
def test_a_name_that_is_not_unicode_is_written_in_every_format(archive, tmp_path):
    scan = tmp_path / os.fsdecode(b"caf\xe9.h5")
    scan.write_bytes((archive / "P0/cine.h5").read_bytes())
    (tmp_path / "list.txt").write_bytes(b"caf\xe9.h5\n")
    (listed,) = read_scan_list(tmp_path / "list.txt")
    formats = [*FORMATS, "dicom"]
    common = ReconRequest(listed, "zerofilled", csm="walsh")
    batch = plan_batch([listed], ["zerofilled"], [f"{tmp_path}/out/"], formats, common, Shard())
    (outcome,) = run_batch(batch)
    assert outcome.error is None
    assert len(outcome.written) == len(formats)
    assert merge_batch(tmp_path / "out")[0].written == outcome.written
