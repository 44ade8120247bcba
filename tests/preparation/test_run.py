"""Preparing a folder: each case once, complete, reproducible, and in the split of its subject."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from forked import run_python
from helpers import UNUSED_PID, relative_error
from raw_scan import SLICE, small_scan

from cinerecon.archives.case_index import INDEX, SPLITS, read_index
from cinerecon.commands.results import print_cases
from cinerecon.errors import ConfigError, FileError
from cinerecon.io.case import CaseFile, read_case
from cinerecon.preparation import prepare_slice as work
from cinerecon.preparation.config import PrepareConfig, parse_split
from cinerecon.preparation.run import prepare
from cinerecon.preparation.selection import split_of

N_MANY = 32
"""Slices of a scan that is not finished when a process is stopped."""


def cases(folder):
    return sorted(path for path in folder.glob("*/**/*.h5") if not path.name.startswith("."))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in cases(folder)}


def test_one_case_per_slice_with_index_and_settings(archive, run, tmp_path):
    report = run(archive, pictures=True)
    rows = read_index(tmp_path / "data")
    assert (report.n_new, len(rows), report.refused) == (4, 4, ())
    assert {row.subject for row in rows} == {"a001", "b002"}
    assert [tmp_path / "data" / row.case for row in rows] == cases(tmp_path / "data")
    for row in rows:
        data = read_case(tmp_path / "data" / row.case)
        assert (row.frames, row.coils, row.ky, row.kx) == tuple(data.kspace.shape) == (3, 3, 12, 16)
        assert row.case == f"{row.split}/{row.subject}/cine_slice{row.slice:02d}.h5"
        assert data.meta.slice == row.slice
        picture = tmp_path / "data" / "pictures" / row.subject / f"cine_slice{row.slice:02d}.png"
        assert picture.stat().st_size > 5000
        with CaseFile(tmp_path / "data" / row.case) as case:
            assert case.attributes["subject"] == row.subject
            assert case.attributes["source_sha256"] == row.source_sha256
            assert case.attributes["intake"]["csm"] == "walsh"
    assert yaml.safe_load((tmp_path / "data/settings.yaml").read_text())["preprocessing"]["csm"] == "walsh"


def test_a_second_run_touches_nothing(archive, run, tmp_path):
    run(archive)
    before = {path: path.stat().st_mtime_ns for path in cases(tmp_path / "data")}
    index = (tmp_path / "data" / INDEX).read_bytes()
    report = run(archive)
    assert (report.n_new, len(report.rows)) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in cases(tmp_path / "data")} == before
    assert (tmp_path / "data" / INDEX).read_bytes() == index


def test_an_interrupted_run_continues_where_it_stopped(archive, run, tmp_path, monkeypatch):
    run(archive, to="whole")
    write, calls = work.write_case, []

    def interrupted(path, data, attributes):
        calls.append(path)
        if len(calls) == 3:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".partial-{UNUSED_PID}-{path.name}").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, data, attributes)

    monkeypatch.setattr(work, "write_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(archive)
    done = {path: path.stat().st_mtime_ns for path in cases(tmp_path / "data")}
    assert len(done) == 2
    assert len(read_index(tmp_path / "data")) == 2
    report = run(archive)
    assert (report.n_new, len(report.rows)) == (2, 4)
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")
    assert (tmp_path / "data" / INDEX).read_bytes() == (tmp_path / "whole" / INDEX).read_bytes()
    assert not list((tmp_path / "data").rglob(".partial*"))


@pytest.fixture(scope="module")
def many_slices(tmp_path_factory):
    """A folder with a scan of `N_MANY` slices, and its cases."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "scans").mkdir()
    small_scan(matrix=(32, 32), n_slices=N_MANY, n_frames=4).write(folder / "scans/a.h5")
    config = PrepareConfig.parse({"preprocessing": {"csm": "walsh"}})
    prepare([folder / "scans"], folder / "whole", config, workers=1, pictures=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_that_are_stopped_from_outside(many_slices, run, tmp_path, number):
    command = [
        sys.executable,
        "-m",
        "cinerecon.cli",
        "prepare",
        many_slices / "scans",
        "-o",
        "data",
        "--workers",
        "2",
        "--csm",
        "walsh",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    end = time.monotonic() + 100
    while len(cases(tmp_path / "data")) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    error = process.communicate()[1]
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert b"Traceback" not in error
    done = {path: path.stat().st_mtime_ns for path in cases(tmp_path / "data")}
    assert 3 <= len(done) < N_MANY, "stopped on its way"
    report = run(many_slices / "scans")
    assert len(report.rows) == N_MANY
    n_kept = sum(path.stat().st_mtime_ns == done[path] for path in done)
    n_lost = 0 if number == signal.SIGINT else 3  # one that was being added to the index, and those of two processes
    assert len(done) - n_lost <= n_kept <= len(done)
    for path in cases(tmp_path / "data"):
        here, there = read_case(path), read_case(many_slices / "whole" / path.relative_to(tmp_path / "data"))
        for name in ("kspace", "csm", "reference"):
            assert relative_error(getattr(here, name), getattr(there, name)) < 1e-5


@pytest.mark.slow
def test_several_processes_make_the_same_cases(archive, run, tmp_path):
    for name in ("carla", "dora", "emil"):
        scan = small_scan(n_slices=2)
        scan.samples = [len(name) * ord(name[0]) * samples for samples in scan.samples]
        (archive / name).mkdir()
        scan.write(archive / name / "cine.h5")
    run(archive, to="one")
    report = run(archive, to="two", workers=2)
    assert report.n_new == 10
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert (tmp_path / "two" / INDEX).read_bytes() == (tmp_path / "one" / INDEX).read_bytes()


def test_a_damaged_case_is_made_again(archive, run, tmp_path):
    run(archive)
    expected = contents(tmp_path / "data")
    first, second, *_ = cases(tmp_path / "data")
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    second.unlink()
    assert run(archive).n_new == 2
    assert contents(tmp_path / "data") == expected


def test_a_changed_scan_is_prepared_again(archive, run, tmp_path):
    run(archive)
    before = contents(tmp_path / "data")
    small_scan(n_slices=2, n_frames=4).write(archive / "a001" / "cine.h5")
    report = run(archive)
    assert report.n_new == 2
    after = contents(tmp_path / "data")
    assert {path.parent.name for path in after if after[path] != before[path]} == {"a001"}
    assert [row.frames for row in read_index(tmp_path / "data") if row.subject == "a001"] == [4, 4]


def test_patches_that_are_no_longer_cut_are_removed(archive, run, tmp_path):
    small_scan(n_slices=1, n_frames=6).write(archive / "a001" / "cine.h5")
    run(archive / "a001", patches=[(2, 12, 16)], stride=(2, 1, 1))
    assert len(cases(tmp_path / "data")) == 3
    small_scan(n_slices=1, n_frames=4).write(archive / "a001" / "cine.h5")
    run(archive / "a001", patches=[(2, 12, 16)], stride=(2, 1, 1))
    assert len(cases(tmp_path / "data")) == len(read_index(tmp_path / "data")) == 2


def test_slices_that_a_scan_no_longer_has_are_removed(archive, run, tmp_path):
    run(archive, pictures=True)
    small_scan(n_slices=1, n_frames=4).write(archive / "a001" / "cine.h5")
    report = run(archive, pictures=True)
    assert (report.n_new, len(report.rows)) == (1, 3)
    rows = read_index(tmp_path / "data")
    assert [row.slice for row in rows if row.subject == "a001"] == [0]
    assert [tmp_path / "data" / row.case for row in rows] == cases(tmp_path / "data")
    pictures = sorted(path.relative_to(tmp_path / "data/pictures") for path in tmp_path.glob("data/pictures/**/*.png"))
    assert list(map(str, pictures)) == ["a001/cine_slice00.png", "b002/cine_slice00.png", "b002/cine_slice01.png"]
    (stale,) = report.leftover.stale
    assert (stale.subject, stale.slice) == ("a001", 1)
    again = run(archive, pictures=True)
    assert (again.n_new, again.leftover.stale, again.leftover.others) == (0, (), ())


def test_cases_of_a_scan_that_is_refused_now_are_kept_and_reported(archive, run, tmp_path, capsys):
    run(archive)
    before = contents(tmp_path / "data")
    (archive / "a001/cine.h5").write_bytes((archive / "a001/cine.h5").read_bytes()[:3000])
    report = run(archive)
    assert contents(tmp_path / "data") == before
    assert {row.subject for row in report.leftover.outdated} == {"a001"}
    print_cases(report)
    text = f"2 cases in the index of former contents of files that are refused now, such as {archive / 'a001/cine.h5'}"
    assert text in capsys.readouterr().out


def test_a_scan_that_changes_while_it_is_prepared_is_refused(archive, run, tmp_path, monkeypatch):
    make, calls = work._make, []

    def replaced(job, source):
        calls.append(job)
        if len(calls) == 2:
            small_scan(n_slices=2, n_frames=4).write(archive / "a001/cine.h5")
        return make(job, source)

    monkeypatch.setattr(work, "_make", replaced)
    report = run(archive)
    assert [refusal.what for refusal in report.refused] == ["cine.h5 was changed while it was read"]
    assert [(row.subject, row.slice) for row in report.rows] == [("a001", 0), ("b002", 0), ("b002", 1)]
    assert run(archive).n_new == 2
    assert {row.frames for row in read_index(tmp_path / "data") if row.subject == "a001"} == {4}


def test_an_index_without_a_column_is_refused_and_left_as_it_is(archive, run, tmp_path):
    run(archive)
    index = tmp_path / "data" / INDEX
    for text in (index.read_text().replace(",marks,", ",labels,"), index.read_text().replace(",", ";")):
        index.write_text(text)
        with pytest.raises(FileError, match=r"the index has no column '(marks|case)'"):
            run(archive / "a001")
        assert index.read_text() == text


def test_records_of_another_version_are_ignored(archive, run, tmp_path):
    run(archive)
    scan = archive / "a001/cine.h5"
    for name, entry in {
        "sources.jsonl": [str(scan), {}],
        "names.jsonl": ["../archive/a001/cine.h5", "../../x"],
    }.items():
        (tmp_path / "data" / name).write_text(json.dumps(entry) + "\n")
        assert run(archive).n_new == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "data"]
    (tmp_path / "data/settings.yaml").write_text("colour: 3\n")
    with pytest.raises(ConfigError, match="cannot read the settings of this folder: unknown setting 'colour'") as error:
        run(archive)
    assert "--force" in error.value.hint


def test_files_that_the_index_does_not_list_are_reported(archive, run, tmp_path, capsys):
    run(archive)
    lost = tmp_path / "data/test/lost_slice00.h5"
    lost.parent.mkdir(exist_ok=True)
    lost.write_bytes(b"")
    report = run(archive)
    assert report.leftover.unlisted == (lost,)
    print_cases(report)
    assert f"1 file in the folders of the splits, not in the index, such as {lost}" in capsys.readouterr().out


def test_cases_of_scans_that_are_not_given_are_counted(archive, run, tmp_path, capsys):
    run(archive)
    report = run(archive / "b002")
    assert {row.subject for row in report.leftover.others} == {"a001"}
    assert len(read_index(tmp_path / "data")) == 4
    print_cases(report)
    assert "kept     2 cases of 1 scan that this command does not name" in capsys.readouterr().out


def test_a_scan_of_the_same_relative_path_is_another_scan(archive, run, tmp_path, monkeypatch):
    """Two sites with the same folders, prepared from the folder of each site."""
    other = small_scan(n_slices=2, n_frames=4)
    (tmp_path / "site/a001").mkdir(parents=True)
    other.write(tmp_path / "site/a001/cine.h5")
    monkeypatch.chdir(archive)
    run(Path("a001/cine.h5"))
    before = contents(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "site")
    report = run(Path("a001/cine.h5"))
    assert (report.n_new, report.refused) == (2, ())
    assert {path: text for path, text in contents(tmp_path / "data").items() if path in before} == before
    assert {row.source for row in read_index(tmp_path / "data")} == {
        str(archive / "a001/cine.h5"),
        str(tmp_path / "site/a001/cine.h5"),
    }


def test_scans_are_added_to_a_folder(archive, run, tmp_path):
    (archive / "b002").rename(tmp_path / "later")
    run(archive)
    (tmp_path / "later").rename(archive / "b002")
    report = run(archive)
    assert (report.n_new, len(report.rows)) == (2, 4)
    assert {row.subject for row in read_index(tmp_path / "data")} == {"a001", "b002"}


def test_a_copy_under_another_name_is_excluded_in_later_runs_too(archive, run, tmp_path):
    run(archive)
    (tmp_path / "other" / "zoe").mkdir(parents=True)
    (tmp_path / "other" / "zoe" / "copy.h5").write_bytes((archive / "a001" / "cine.h5").read_bytes())
    report = run(tmp_path / "other")
    assert (report.rows, report.passed) == ((), {"copies of other files, under another name": 1})
    assert {row.subject for row in read_index(tmp_path / "data")} == {"a001", "b002"}


def test_a_scan_never_overwrites_the_cases_of_another(archive, run, tmp_path):
    run(archive / "a001")
    expected = contents(tmp_path / "data")
    report = run(archive / "b002")
    assert {row.case.partition("/")[2] for row in report.rows} == {f"b002/cine_slice{n:02d}.h5" for n in (0, 1)}
    after = contents(tmp_path / "data")
    assert {path: after[path] for path in expected} == expected
    assert len(read_index(tmp_path / "data")) == 4
    (tmp_path / "data/names.jsonl").unlink()  # as in folders of former versions
    small_scan(n_slices=2, n_frames=4).write(archive / "b002/cine.h5")
    (refusal,) = run(archive / "b002").refused
    assert refusal.what == f"its cases would overwrite those of another scan, {archive / 'a001' / 'cine.h5'}"
    assert contents(tmp_path / "data") == after


def test_a_moved_scan_is_recognised(archive, run, tmp_path):
    run(archive)
    archive.rename(tmp_path / "moved")
    assert run(tmp_path / "moved").n_new == 0


def test_a_scan_that_was_renamed_keeps_its_cases(archive, run, tmp_path):
    run(archive)
    before = contents(tmp_path / "data")
    (archive / "a001/cine.h5").rename(archive / "a001/short_axis.h5")
    for _ in range(2):
        report = run(archive)
        assert (report.n_new, len(report.rows), report.leftover.others) == (0, 4, ())
    assert contents(tmp_path / "data") == before


def test_names_that_differ_in_case_alone_are_distinguished(run, tmp_path):
    for number, name in enumerate(("cine.h5", "Cine.h5")):
        scan = small_scan(n_slices=1)
        scan.samples = [(number + 1) * samples for samples in scan.samples]
        scan.write(tmp_path / name)
    names = [row.case.partition("/")[2].casefold() for row in run(tmp_path / "cine.h5", tmp_path / "Cine.h5").rows]
    assert len(set(names)) == 2


def test_folders_that_differ_in_case_alone_are_distinguished(archive, run, tmp_path):
    (archive / "Anna").mkdir()
    small_scan(n_slices=1).write(archive / "Anna/cine.h5")
    cases = {row.case.partition("/")[2].casefold() for row in run(archive).rows}
    assert len(cases) == 5
    assert {case.count("/") for case in cases} == {1}, "no other folders in the name"
    assert run(archive).n_new == 0


def test_other_settings_need_another_folder_or_force(archive, run, tmp_path):
    run(archive)
    with pytest.raises(ConfigError, match="prepared with frames not set, but the requested value is 2"):
        run(archive, frames=2)
    report = run(archive, frames=2, force=True)
    assert report.n_new == 4
    assert {read_case(path).n_frames for path in cases(tmp_path / "data")} == {2}


def test_force_makes_again_what_is_named_and_leaves_the_rest(archive, run, tmp_path):
    run(archive)
    before = {path: path.stat().st_mtime_ns for path in cases(tmp_path / "data")}
    (tmp_path / "one").mkdir()
    (archive / "a001").rename(tmp_path / "one" / "a001")
    report = run(tmp_path / "one", force=True)
    assert (report.n_new, len(read_index(tmp_path / "data"))) == (2, 4)
    changed = {path.parent.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {"a001"}


def test_force_removes_nothing_for_a_scan_that_cannot_be_read(archive, run, tmp_path):
    run(archive)
    expected, settings = contents(tmp_path / "data"), (tmp_path / "data/settings.yaml").read_bytes()
    (tmp_path / "damaged.h5").write_bytes(b"no scan")
    for changed in ({}, {"frames": 2}):
        report = run(tmp_path / "damaged.h5", force=True, **changed)
        assert (report.n_new, len(report.refused)) == (0, 1)
        assert contents(tmp_path / "data") == expected
        assert len(read_index(tmp_path / "data")) == 4
        assert (tmp_path / "data/settings.yaml").read_bytes() == settings


def test_files_that_another_run_writes_are_left_alone(archive, run, tmp_path):
    (tmp_path / "data/train/b002").mkdir(parents=True)
    theirs, old = (tmp_path / "data/train/b002" / f".partial-{os.getppid()}-{name}.h5" for name in ("theirs", "old"))
    for path in (theirs, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    run(archive)
    assert theirs.exists()
    assert not old.exists()


def test_a_name_that_is_not_utf8_is_refused(archive, run, tmp_path):
    try:
        (archive / "a001").rename(archive / os.fsdecode(b"m\xfcller"))
    except OSError:
        pytest.skip("this file system knows no such names")
    report = run(archive)
    assert (report.n_new, [refusal.what for refusal in report.refused]) == (2, ["the name of the file is not UTF-8"])
    assert "m\\udcfcller" in (tmp_path / "data/refused.csv").read_text(encoding="utf-8")


def test_a_split_of_all_cases_keeps_the_subjects_of_other_splits(archive, run, tmp_path):
    assert parse_split("test") == (0, 0, 100)
    (archive / "b002").rename(tmp_path / "later")
    first = run(archive, split=parse_split("train"))
    (tmp_path / "later").rename(archive / "b002")
    for force in (False, True):
        both = run(archive, split=parse_split("test"), force=force)
        assert (first.n_new, both.n_new) == (2, 2)
        (refusal,) = both.refused
        assert (refusal.path, refusal.where) == (archive / "a001/cine.h5", f"--split, {archive / 'a001/cine.h5'}")
        assert refusal.what == "the subject a001 is already in train, not in test"
    again = run(archive, split=(80, 10, 10))
    assert (again.n_new, again.refused) == (0, ())
    assert {row.subject: row.split for row in read_index(tmp_path / "data")} == {"a001": "train", "b002": "test"}


def test_the_setting_that_differs_is_named(archive, run):
    run(archive)
    with pytest.raises(ConfigError) as error:
        run(archive, preprocessing={"csm": "walsh", "n_virtual_coils": 2})
    what = "the folder was prepared with preprocessing.n_virtual_coils not set, but the requested value is 2"
    assert error.value.what == what


def test_a_bad_scan_does_not_stop_the_others(archive, run, tmp_path):
    (archive / "carl").mkdir()
    (archive / "carl" / "broken.h5").write_bytes(b"no scan")
    with h5py.File(archive / "b002" / "cine.h5", "r+") as file:
        row = file["dataset/data"][-1]
        row["data"][:] = np.nan
        file["dataset/data"][-1] = row
    report = run(archive)
    assert report.n_new == 3
    assert [refusal.what.split(",")[0] for refusal in report.refused] == [
        "NaN in acquisition 71",
        "this is not an HDF5 file",
    ]
    with (tmp_path / "data" / "refused.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["where"] for row in rows] == [refusal.where for refusal in report.refused]
    (archive / "carl" / "broken.h5").unlink()
    small_scan(n_slices=2).write(archive / "b002" / "cine.h5")
    assert run(archive).refused == ()
    assert not (tmp_path / "data" / "refused.csv").exists()


def test_copies_are_skipped(archive, run):
    (archive / "zoe").mkdir()
    (archive / "zoe" / "copy.h5").write_bytes((archive / "a001" / "cine.h5").read_bytes())
    report = run(archive)
    assert {row.subject for row in report.rows} == {"a001", "b002"}
    assert report.passed == {"copies of other files, under another name": 1}


def test_a_folder_without_scans_is_an_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="nothing to prepare"):
        run(tmp_path / "empty")
    with pytest.raises(FileError, match="no such file"):
        run(tmp_path / "missing.h5")


def test_a_subject_is_always_in_one_split():
    subjects = [f"subject {n}" for n in range(3000)]
    splits = {subject: split_of(subject, (80, 10, 10)) for subject in subjects}
    counts = {split: sum(found == split for found in splits.values()) / 3000 for split in SPLITS}
    assert counts["train"] == pytest.approx(0.8, abs=0.03)
    assert counts["val"] == pytest.approx(0.1, abs=0.03)
    assert split_of("subject 7", (80, 10, 10)) == splits["subject 7"]
    assert [split_of(name, (80, 10, 10)) for name in ("P001", "P002", "P003")] == ["val", "test", "train"]
    assert {split_of(subject, (1, 0, 0)) for subject in subjects} == {"train"}
    assert {split_of(subject, (0, 0, 3)) for subject in subjects} == {"test"}
    assert all(split_of(p, (90, 5, 5)) == "train" for p in subjects if splits[p] == "train"), "shares move borders only"


def test_no_subject_is_in_two_splits(run, tmp_path):
    """Twenty subjects with two scans each, in folders of any depth."""
    for subject in range(20):
        for view in ("sax/deep/cine.h5", "extra.h5"):
            path = tmp_path / "archive" / f"P{subject:03d}" / view
            path.parent.mkdir(parents=True, exist_ok=True)
            scan = small_scan(matrix=(8, 8), n_frames=1, n_coils=1, oversampling=1)
            scan.samples = [(1 + subject + len(view) / 100) * samples for samples in scan.samples]
            scan.write(path)
    report = run(tmp_path / "archive", split=(50, 25, 25))
    places = {(row.subject, row.split) for row in report.rows}
    assert len(report.rows) == 40
    assert len(places) == len({subject for subject, _ in places}) == 20
    assert {split for _, split in places} == set(SPLITS)
    in_folders = {(path.relative_to(tmp_path / "data").parts[:2]) for path in cases(tmp_path / "data")}
    assert in_folders == {(split, subject) for subject, split in places}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_slices(tmp_path):
    peaks = []
    for n_slices in (1, 16):
        scan = small_scan(matrix=(72, 72), n_frames=10, n_coils=8)
        scan.space["limits"]["slice"] = (n_slices - 1, 0)
        scan.heads = np.tile(scan.heads, n_slices)
        scan.heads["idx"]["slice"] = np.repeat(np.arange(n_slices), len(scan.samples))
        scan.heads["position"] = 10.0 * scan.heads["idx"]["slice"][:, None] * SLICE
        scan.samples = n_slices * scan.samples
        path = scan.write(tmp_path / f"{n_slices}.h5")
        options = ["--workers", "1", "--csm", "walsh", "--no-pictures"]
        words = ["prepare", str(path), "-o", f"{tmp_path}/data{n_slices}", *options]
        code = (
            f"from cinerecon.cli import app; app({words}, standalone_mode=False); "
            "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        result = run_python(code)
        assert result.returncode == 0, result.stderr
        peaks.append(1024 * int(result.stdout.split()[-2]))
    assert path.stat().st_size > 100e6
    assert len(cases(tmp_path / "data16")) == 16
    assert peaks[1] - peaks[0] < 30e6


@pytest.fixture(autouse=True)
def _forget_the_last_source():
    work._last = None
    yield
    work._last = None
