"""A folder has one writer at a time, which the operating system forgets when it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cinerecon.errors import FileError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.io.lock import sole_writer
from cinerecon.io.shards import Shard
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.request import ReconRequest

SCAN = Path(__file__).parents[2] / "sample_data/phantom_cine.h5"
HOLD = "from pathlib import Path; from cinerecon.io.lock import sole_writer; import sys, time\n"
HOLD += "with sole_writer(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "results"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FileError, match="another process is writing to this folder"), sole_writer(folder):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with sole_writer(folder):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_an_empty_folder_is_not_left_over(tmp_path):
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path / "results"):
        raise ZeroDivisionError
    assert not (tmp_path / "results").exists()


def _recon(output, shard):
    run_batch(plan_batch([SCAN], ["zerofilled"], [f"{output}/"], [".npz"], ReconRequest(SCAN, "zerofilled"), shard))


@pytest.mark.parametrize(
    ("command", "run"),
    [
        ("prepare", lambda output, shard: prepare([SCAN], output, shard=shard)),
        (
            "evaluate",
            lambda output, shard: evaluate(
                [SCAN], EvaluationRequest(["zerofilled"], ["gaussian:4"], output=output), shard=shard
            ),
        ),
        ("recon", _recon),
    ],
)
@pytest.mark.parametrize("shard", [Shard(1, 2), None], ids=str)
def test_a_run_is_not_started_twice(tmp_path, command, run, shard):
    with sole_writer(shard.folder(tmp_path, command) if shard else tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(FileError, match="another process"):
            run(tmp_path, shard)
        assert sorted(tmp_path.rglob("*")) == before, "the results of the first are as they were"
