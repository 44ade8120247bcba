"""Shards of a preparation: joined, they are the preparation; killed, they continue."""

from dataclasses import replace
from functools import partial

import pytest
from helpers import counted
from small_archive import N_SCANS, kill_and_continue, make_archive

from cinerecon.acquisition.open import find_cines
from cinerecon.archives.case_index import read_index
from cinerecon.archives.scan_list import read_scan_list
from cinerecon.archives.shards import Shard
from cinerecon.errors import ConfigError, FileError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.io.case import read_case
from cinerecon.preparation import prepare_slice, sources
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.merge import merge_cases
from cinerecon.preparation.report import read_refused
from cinerecon.preparation.run import prepare

N = 2


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The scan of P4 is also there under another name, P2b, which comes earlier."""
    folder = make_archive(tmp_path_factory.mktemp("archive"))
    (folder / "P2b").mkdir()
    (folder / "P2b/cine.h5").write_bytes((folder / "P4/cine.h5").read_bytes())
    with (folder / "list.txt").open("a") as file:
        file.write("P2b/cine.h5\nmissing.h5\n")
    return folder


def run(archive, output, shard=None, **settings):
    config = PrepareConfig.parse({"preprocessing": {"csm": "walsh"}} | settings)
    listed = read_scan_list(archive / "list.txt")
    return prepare([], output, config, workers=1, pictures=False, listed=listed, shard=shard)


def contents(output):
    rows = [replace(row, sha256="") for row in read_index(output)]
    kspace = {row.case: read_case(output / row.case).kspace for row in rows}
    files = sorted(path.relative_to(output).as_posix() for path in output.glob("t*/**/*.h5"))
    refused = [(refusal.path.name, refusal.what) for refusal in read_refused(output)]
    return rows, kspace, files, refused


def assert_same(output, other):
    (rows, kspace, files, refused), (expected_rows, expected, expected_files, expected_refused) = map(
        contents, (output, other)
    )
    assert (rows, files, refused) == (expected_rows, expected_files, expected_refused)
    assert all(kspace[case].equal(expected[case]) for case in expected)


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    report = run(archive, output)
    assert report.n_new == N_SCANS - 1, "the copy counts once, and a scan is damaged"
    assert [refusal.path.name for refusal in report.refused] == ["cine.h5", "missing.h5"]
    assert {row.source for row in report.rows} == {str(archive / f"P{n}/cine.h5") for n in (0, 1, 2)} | {
        str(archive / "P2b/cine.h5")
    }
    return output


def test_merged_shards_are_the_preparation(archive, whole, tmp_path):
    run(archive, tmp_path, Shard(2, N))
    for use in (find_cines, lambda folder: evaluate([folder], EvaluationRequest(["zerofilled"], ["gaussian:2"]))):
        with pytest.raises(FileError, match="prepared in shards that have not been merged"):
            use(tmp_path)
    with pytest.raises(FileError, match="1 of 2 shards is missing: 1"):
        merge_cases(tmp_path)
    run(archive, tmp_path, Shard(1, N))
    for _ in range(2):
        report = merge_cases(tmp_path)
        assert_same(tmp_path, whole)
    assert report.passed == {"copies of other files, under another name": 1}


@pytest.mark.slow
def test_a_shard_that_is_killed_at_any_write_continues(archive, whole, tmp_path):
    kill_and_continue(tmp_path, partial(run, archive), merge_cases, lambda output, _: assert_same(output, whole))


def test_a_shard_opens_its_own_scans_and_none_again(archive, tmp_path):
    functions = [
        *((module, "hash_file") for module in (prepare_slice,)),
        *((sources, name) for name in ("open_scan", "hash_files")),
    ]
    with counted(*functions) as counts:
        run(archive, tmp_path, Shard(1, N))
    own = Shard(1, N).part([*range(N_SCANS), "copy", "missing"])
    n_cases = len(own) - 1
    assert counts == {"open_scan": n_cases + 1, "hash_files": n_cases, "hash_file": n_cases}
    with counted(*functions) as counts:
        report = run(archive, tmp_path, Shard(1, N))
    assert counts == {"open_scan": 1}, "only what was refused is tried again"
    assert (report.n_new, len(report.rows)) == (0, n_cases)


def test_a_case_that_changed_is_prepared_again(archive, tmp_path):
    run(archive, tmp_path)
    path = tmp_path / read_index(tmp_path)[0].case
    expected = read_case(path).kspace
    path.write_bytes(path.read_bytes()[:-9] + b"damaged..")
    assert run(archive, tmp_path).n_new == 1
    assert read_case(path).kspace.equal(expected)


def test_shards_of_other_settings_are_refused(archive, tmp_path):
    run(archive, tmp_path, Shard(1, N))
    with pytest.raises(ConfigError, match="the folder was prepared with frames"):
        run(archive, tmp_path, Shard(2, N), frames=1)
    run(archive, tmp_path, Shard(2, N), split=(0, 0, 1))
    with pytest.raises(ConfigError, match="different settings: split"):
        merge_cases(tmp_path)


def test_a_case_that_is_missing_is_noticed(archive, tmp_path):
    for number in (1, 2):
        run(archive, tmp_path, Shard(number, N))
    (tmp_path / read_index(tmp_path / "shards/prepare-1-of-2")[0].case).unlink()
    with pytest.raises(FileError, match="a case listed in the index is missing"):
        merge_cases(tmp_path)
