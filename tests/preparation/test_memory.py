"""A limit of memory, and exhausted memory, concern single slices of a preparation."""

import pytest
from raw_scan import small_scan

from cinerecon.errors import ConfigError
from cinerecon.memory import parse_size
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare


@pytest.fixture
def scan(tmp_path):
    return small_scan(n_slices=2).write(tmp_path / "scan.h5")


def run(scan, **options):
    return prepare([scan], scan.parent / "cases", PrepareConfig(), workers=1, pictures=False, **options)


def test_slices_that_need_more_are_refused_with_the_limit_that_suffices(scan):
    report = run(scan, memory=10**6)
    assert not report.rows
    assert len(report.refused) == 2
    assert report.refused[0].what.endswith(", the limit of a process is 1 MB")
    assert "3 frames x 3 coils x 12 x 16" in report.refused[0].where
    *_, size = report.refused[0].hint.split()
    assert len(run(scan, memory=round(1.5 * parse_size(size))).rows) == 2


def test_exhausted_memory_is_a_refusal_of_one_slice(scan, monkeypatch):
    def fail(data, *_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000 bytes")

    monkeypatch.setattr("cinerecon.preparation.prepare_slice.shape_case", fail)
    report = run(scan)
    assert [rejection.what for rejection in report.refused] == [
        "out of memory: 8 MB more could not be allocated",
        "out of memory: 8 MB more could not be allocated",
    ]


def test_arguments_are_the_options_of_the_command(scan):
    """A limit as a number of bytes or a text; former names give a warning with the present one."""
    for memory in (10**6, "1MB"):
        assert len(run(scan, memory=memory, force=True).refused) == 2
    with pytest.warns(DeprecationWarning, match="draws=... is now pictures=..."):
        prepare([scan], scan.parent / "other", workers=1, draws=False)
    for wrong in ({"wrkers": 1}, {"workers": 0}, {"memory": "much"}):
        with pytest.raises(ConfigError):
            prepare([scan], scan.parent / "other", **wrong)
