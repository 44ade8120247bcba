"""Shards of an evaluation: joined, they are the evaluation; killed, they continue."""

from dataclasses import replace
from functools import partial

import pytest
from helpers import counted
from small_archive import N_SCANS, kill_and_continue, make_archive

from cinerecon.acquisition import open as acquisition
from cinerecon.archives.scan_list import read_scan_list
from cinerecon.archives.shards import Shard
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.evaluation import jobs, score, score_slice
from cinerecon.evaluation.failures import read_failures
from cinerecon.evaluation.jobs import merge_scores
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import read_scores

N = 2
MODELS = ["zerofilled", "viewshared"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"))


def run(archive, output, shard=None, models=MODELS, **options):
    request = EvaluationRequest(models, ["gaussian:2"], output=output, n_pictures=2)
    return evaluate(read_scan_list(archive / "list.txt"), request, shard=shard, **options)


def without_usage(scores):
    return [repr(replace(score, seconds=0.0, memory_mb=0.0)) for score in scores]


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    found = run(archive, output)
    assert len(found.scores) == (N_SCANS - 1) * len(MODELS)
    assert [failure.scan for failure in found.failures] == ["P3/cine"] * len(MODELS)
    return output, found


def assert_same(output, merged, whole):
    expected_output, expected = whole
    scores, failures = merged
    assert without_usage(scores) == without_usage(expected.scores)
    assert without_usage(read_scores(output)) == without_usage(expected.scores)
    assert failures == expected.failures == read_failures(output)
    assert sorted(path.name for path in (output / "images").iterdir()) == sorted(
        path.name for path in (expected_output / "images").iterdir()
    )


def test_merged_shards_are_the_evaluation(archive, whole, tmp_path):
    assert run(archive, tmp_path, Shard(2, N)).scores == []
    with pytest.raises(FileError, match="1 of 2 shards is missing: 1"):
        merge_scores(tmp_path)
    run(archive, tmp_path, Shard(1, N))
    for _ in range(2):
        assert_same(tmp_path, merge_scores(tmp_path), whole)
    run(archive, tmp_path, Shard(1, N), MODELS[:1])
    with pytest.raises(ConfigError, match="different settings: models is"):
        merge_scores(tmp_path)


@pytest.mark.slow
def test_a_shard_that_is_killed_at_any_write_continues(archive, whole, tmp_path):
    kill_and_continue(
        tmp_path, partial(run, archive), merge_scores, lambda output, merged: assert_same(output, merged, whole)
    )


@pytest.mark.parametrize("n_bytes", [3, 30, 400])
def test_a_row_that_was_cut_short_is_computed_again(archive, whole, tmp_path, n_bytes):
    for number in (1, 2):
        run(archive, tmp_path, Shard(number, N))
    path = tmp_path / "shards/evaluate-1-of-2/scores.csv"
    path.write_bytes(path.read_bytes()[:-n_bytes])
    with pytest.raises(FileError, match="records of shard 1/2 have changed"):
        merge_scores(tmp_path)
    done = []
    run(archive, tmp_path, Shard(1, N), report=done.append)
    assert len(done) == 1
    assert_same(tmp_path, merge_scores(tmp_path), whole)


def test_a_shard_opens_its_own_scans_and_none_again(archive, tmp_path):
    functions = [(acquisition, "open_scan"), (jobs, "hash_unchanged"), (jobs, "fingerprint")]
    with counted(*functions) as counts:
        run(archive, tmp_path, Shard(1, N))
    n_own = len(Shard(1, N).part(range(N_SCANS)))
    assert counts == {"open_scan": n_own, "hash_unchanged": n_own, "fingerprint": len(MODELS)}
    with counted(*functions) as counts:
        run(archive, tmp_path, Shard(1, N), report_existing=lambda n: counts.update(kept=n))
    assert counts == {"fingerprint": len(MODELS), "kept": n_own * len(MODELS)}


def test_scores_are_appended_and_not_read_in_between(archive, tmp_path, monkeypatch):
    """The time of recording a score does not depend on the number of scores before."""
    monkeypatch.setattr(score, "rewrite_scores", lambda *_: pytest.fail("all scores are written again"))
    with counted((score, "_parse")) as counts:
        found = run(archive, tmp_path)
    assert counts["_parse"] == len(found.scores), "once, at the end"


def test_a_scan_that_changed_is_scored_again(archive, tmp_path):
    copy = make_archive(tmp_path / "copy")
    run(copy, tmp_path / "out")
    path = copy / "P0/cine.h5"
    path.write_bytes((copy / "P1/cine.h5").read_bytes())
    done = []
    run(copy, tmp_path / "out", report=done.append)
    assert [outcome.scan for outcome in done] == ["P0/cine"] * 2 + ["P3/cine"] * 2


def test_a_scan_that_changes_while_it_is_scored_fails(archive, tmp_path, monkeypatch):
    """Otherwise its scores would be stored as those of the scan before."""
    copy = make_archive(tmp_path / "copy") / "P0/cine.h5"
    plan = score_slice.plan_methods

    def replaced(*arguments):
        copy.write_bytes((tmp_path / "copy/P1/cine.h5").read_bytes())
        return plan(*arguments)

    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "out")
    monkeypatch.setattr(score_slice, "plan_methods", replaced)
    with pytest.raises(DataError, match=r"cine\.h5 was changed while it was read"):
        evaluate([copy], request)
    monkeypatch.undo()
    assert len(evaluate([copy], request).scores) == 1


def test_pictures_of_shards_are_those_of_the_whole(archive, tmp_path):
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], device="cpu", n_pictures=3)
    scans = [archive / f"P{n}/cine.h5" for n in (0, 1, 2, 4)]
    pictured = []
    for number in (1, 2):
        listed = jobs.JobList(scans, request, request.load_methods(), shard=Shard(number, N))
        of_shard = [job for path in listed.scans for job in listed.jobs(path, listed.read(path))]
        pictured += [job.label for job in of_shard if job.stores_images]
    assert sorted(pictured) == ["P0/cine", "P2/cine", "P4/cine"]


def test_a_scan_more_renames_no_other(archive, tmp_path):
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path)
    evaluate([archive / "P0/cine.h5"], request)
    done = []
    evaluate([archive / f"P{n}/cine.h5" for n in (1, 0)], request, report=done.append)
    assert [outcome.scan for outcome in done] == ["P1/cine"]
    assert [score.scan for score in read_scores(tmp_path)] == ["cine", "P1/cine"]
