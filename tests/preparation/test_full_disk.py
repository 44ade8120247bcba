"""A disk that becomes full is no fault of a scan: the preparation stops, its index is complete, and it continues."""

import errno
import os

import pytest

from cinerecon.archives.case_index import read_index
from cinerecon.archives.shards import Shard
from cinerecon.errors import StorageError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

CONFIG = PrepareConfig(patches=((2, 16, 16), (4, 8, 16)), stride=(2, 8, 16))
"""Several cases of each slice."""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name in "ab":
        simulate_scan(folder / f"{name}.h5", SimulateConfig(n_frames=4, ky=16, kx=16, n_coils=2, subject=name))
    return folder


@pytest.fixture
def disk(monkeypatch):
    """A disk that is full after a number of writes, which all end in this call."""
    fsync, left = os.fsync, [0]

    def write(descriptor):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", write)

    def hold(n_writes):
        left[0] = n_writes

    return hold


def cases_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_at_*.h5"))


def state(folder):
    return [(row.case, row.subject, row.part, row.frames, row.ky) for row in read_index(folder)]


@pytest.mark.parametrize("shard", [None, Shard(1, 1)], ids=str)
def test_the_index_lists_the_complete_cases_at_any_write(scans, tmp_path, disk, shard):
    disk(1000)
    records = shard.folder(tmp_path / "whole", "prepare") if shard else tmp_path / "whole"
    prepare([scans], tmp_path / "whole", CONFIG, workers=1, pictures=False, shard=shard)
    expected = state(records)
    assert len(expected) == len(cases_in(tmp_path / "whole")) > 6
    data = tmp_path / "data"
    records = shard.folder(data, "prepare") if shard else data
    stops = 0
    for n_writes in range(1, 60, 3):
        disk(n_writes)
        try:
            prepare([scans], data, CONFIG, workers=1, pictures=False, shard=shard)
        except StorageError as error:
            stops += 1
            assert error.what == "cannot write: No space left on device"
            assert error.hint.startswith("free space")
            assert [row.case for row in read_index(records)] == cases_in(data)
            assert not (data / "refused.csv").exists()
            assert not list(data.rglob(".partial-*"))
        else:
            break
    assert stops > 3
    assert state(records) == expected


def test_cases_that_were_replaced_leave_the_index_with_their_files(scans, tmp_path, disk):
    disk(1000)
    prepare([scans], tmp_path, workers=1, pictures=False)
    assert len(read_index(tmp_path)) == 2
    disk(2)  # settings, one case
    with pytest.raises(StorageError):
        prepare([scans], tmp_path, workers=1, pictures=False, force=True)
    disk(1000)
    prepare([scans], tmp_path, workers=1, pictures=False)
    assert [row.case for row in read_index(tmp_path)] == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*_slice00.h5")
    )
    assert len(read_index(tmp_path)) == 2


def test_an_evaluation_and_a_reconstruction_of_many_scans_stop(scans, tmp_path, disk):
    paths = sorted(scans.iterdir())
    disk(1)  # the record of the scan, but not its score
    with pytest.raises(StorageError, match="No space left"):
        evaluate(paths, EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "scores"))
    disk(1)
    outcomes = []
    folder = tmp_path / "images"
    batch = plan_batch(paths, ["zerofilled"], [f"{folder}/"], [".npz"], ReconRequest(paths[0], "zerofilled"))
    with pytest.raises(StorageError, match="No space left"):
        run_batch(batch, report=outcomes.append)
    assert outcomes == []
    disk(1000)
    assert (
        len(evaluate(paths, EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "scores")).scores) == 2
    )
