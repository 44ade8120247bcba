"""A limit of memory, and exhausted memory, concern single methods of an evaluation."""

import pytest

from cinerecon.errors import ConfigError, DataError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.methods import memory_plan
from cinerecon.methods.classical.linear import ZeroFilled

MODELS, PATTERNS = ["zerofilled", "ktslr"], ["gaussian:2"]


def test_a_method_beyond_the_limit_fails_and_the_others_are_scored(full_scan, monkeypatch):
    monkeypatch.setattr(memory_plan, "_process_bytes", lambda: 0)
    monkeypatch.setattr("cinerecon.methods.classical.admm_methods.KtSlr.n_series", 1e6)
    result = evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS, memory=10**9))
    assert [score.method for score in result.scores] == ["zerofilled"]
    (failure,) = result.failures
    assert failure.method == "ktslr"
    assert "the limit is 1.0 GB" in failure.what
    assert failure.hint.startswith("--memory ")


def test_no_scan_is_read_for_methods_that_all_need_more(full_scan, monkeypatch):
    monkeypatch.setattr("cinerecon.acquisition.scan.Scan.read_timed", None)
    with pytest.raises((ConfigError, DataError), match="the limit is 1 MB"):
        evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS, memory=10**6))


def test_exhausted_memory_is_a_failure_of_one_method(full_scan, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ZeroFilled, "solve", fail)
    result = evaluate([full_scan], EvaluationRequest(["zerofilled", "viewshared"], PATTERNS))
    assert [score.method for score in result.scores] == ["viewshared"]
    assert [(failure.method, failure.what) for failure in result.failures] == [("zerofilled", "out of memory")]
