"""Output folders: one writer at a time, and results of one kind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cinerecon.archives.case_index import INDEX, list_cases
from cinerecon.archives.shards import Shard
from cinerecon.commands.evaluate import EvaluateOptions
from cinerecon.commands.evaluate import evaluate as evaluate_command
from cinerecon.commands.prepare import PrepareOptions
from cinerecon.commands.prepare import prepare as prepare_command
from cinerecon.commands.recon import ReconOptions, recon
from cinerecon.commands.train import TrainOptions, train
from cinerecon.errors import FileError
from cinerecon.evaluation.jobs import SCAN_RECORDS
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import SCORES
from cinerecon.io.output_folder import FolderKind, require_folder_of, sole_writer
from cinerecon.methods.model_file import RECIPE
from cinerecon.preparation.folder import SETTINGS
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.record import RECORD
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.training.run_folder import ABOUT

SCAN = Path(__file__).parents[2] / "sample_data/phantom_cine.h5"
HOLD = "from pathlib import Path; from cinerecon.io.output_folder import sole_writer; import sys, time\n"
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
    (tmp_path / "kept").mkdir()
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path / "kept/results/shards/recon-1-of-2"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"], "only what was created is removed"
    with sole_writer(tmp_path / "kept/results/shards/recon-1-of-2"):
        (tmp_path / "kept/results/shards/result").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "results", "shards", "result"]


def _prepare(scan, output, shard):
    return prepare([scan], output, shard=shard, workers=1, pictures=False)


def _evaluate(scan, output, shard):
    evaluate([scan], EvaluationRequest(["zerofilled"], ["gaussian:4"], output=output), shard=shard)


def _recon(scan, output, shard):
    run_batch(plan_batch([scan], ["zerofilled"], [f"{output}/"], [".npz"], ReconRequest(scan, "zerofilled"), shard))


RUNS = pytest.mark.parametrize("run", [_prepare, _evaluate, _recon])
SHARDS = pytest.mark.parametrize("shard", [Shard(1, 2), None], ids=str)


@RUNS
@SHARDS
def test_a_run_is_not_started_twice(tmp_path, run, shard):
    command = run.__name__.removeprefix("_")
    with sole_writer(shard.folder(tmp_path, command) if shard else tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(FileError, match="another process"):
            run(SCAN, tmp_path, shard)
        assert sorted(tmp_path.rglob("*")) == before, "the results of the first are as they were"


@RUNS
@SHARDS
def test_nothing_is_created_without_a_scan(tmp_path, run, shard):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"nothing to prepare|no scan"):
        run(tmp_path / "empty", tmp_path / "results/below", shard)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_without_any_case_there_is_no_index(tmp_path):
    (tmp_path / "damaged.h5").write_bytes(SCAN.read_bytes()[:3000])
    report = _prepare(tmp_path / "damaged.h5", tmp_path / "cases", None)
    assert len(report.refused) == 1
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["refused.csv"]
    with pytest.raises(FileError, match="no prepared cases here"):
        list_cases(tmp_path / "cases")


def test_folders_are_recognised_by_the_files_that_commands_write():
    names = {kind.name: kind.value[1] for kind in FolderKind}
    assert names == {
        "CASES": (INDEX, SETTINGS),
        "MODEL": (RECIPE, ABOUT),
        "SCORES": (SCORES, SCAN_RECORDS),
        "IMAGES": (RECORD,),
    }


@pytest.mark.parametrize(
    ("call", "options", "kind"),
    [
        (train, lambda out: TrainOptions(recipe="slrnet", output=out), FolderKind.CASES),
        (train, lambda out: TrainOptions(recipe="slrnet", output=out), FolderKind.SCORES),
        (prepare_command, lambda out: PrepareOptions(sources=(str(SCAN),), output=out), FolderKind.MODEL),
        (prepare_command, lambda out: PrepareOptions(sources=(str(SCAN),), output=out), FolderKind.IMAGES),
        (
            evaluate_command,
            lambda out: EvaluateOptions(scans=(str(SCAN),), output=out, models=("zerofilled",), undersample=("vds:4",)),
            FolderKind.CASES,
        ),
        (
            evaluate_command,
            lambda out: EvaluateOptions(recons=(str(SCAN),), reference=str(SCAN), output=out),
            FolderKind.MODEL,
        ),
        (
            recon,
            lambda out: ReconOptions(scans=(str(SCAN),), models=("zerofilled", "cgsense"), outputs=(f"{out}/",)),
            FolderKind.CASES,
        ),
        (recon, lambda out: ReconOptions(scans=(str(SCAN),), outputs=(f"{out}/",)), FolderKind.MODEL),
    ],
)
def test_results_are_not_written_among_those_of_another_kind(tmp_path, call, options, kind):
    marker = tmp_path / kind.value[1][-1]
    marker.write_text("{}")
    with pytest.raises(FileError, match=f"the folder contains {kind.value[0]}"):
        call(options(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [marker.name]


def test_a_folder_that_already_contains_both_is_continued(tmp_path):
    (tmp_path / INDEX).touch()
    with pytest.raises(FileError, match="the folder contains"):
        require_folder_of(FolderKind.SCORES, tmp_path)
    (tmp_path / SCORES).touch()
    require_folder_of(FolderKind.CASES, tmp_path)
    require_folder_of(FolderKind.SCORES, tmp_path)
    require_folder_of(FolderKind.IMAGES, tmp_path / "new")


def test_images_and_scores_share_a_folder(tmp_path):
    (tmp_path / SCORES).touch()
    require_folder_of(FolderKind.IMAGES, tmp_path)
    (tmp_path / SCORES).rename(tmp_path / INDEX)
    with pytest.raises(FileError, match="the folder contains"):
        require_folder_of(FolderKind.IMAGES, tmp_path)
