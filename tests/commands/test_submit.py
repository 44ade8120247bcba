"""Shards as jobs, through the local executor of submitit, and through Slurm where it is installed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from small_archive import make_archive

from cinerecon.archives.scan_list import read_scan_list
from cinerecon.cli import main
from cinerecon.commands import submit as module
from cinerecon.commands.evaluate import EvaluateOptions
from cinerecon.commands.recon import ReconOptions
from cinerecon.errors import ConfigError, DataError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import read_scores

submitit = pytest.importorskip("submitit")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"))


def command(monkeypatch, capsys, *arguments):
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["cinerecon", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return (stop.value.code or 0, *capsys.readouterr())


def has_slurm() -> bool:
    """Whether a Slurm controller answers."""
    return bool(shutil.which("sinfo")) and subprocess.run(["sinfo"], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", ["local", pytest.param("slurm", marks=pytest.mark.skipif(not has_slurm(), reason="no Slurm"))]
)
def test_submitted_shards_give_the_scores_of_one_run(archive, tmp_path, monkeypatch, capsys, executor):
    arguments = ("evaluate", f"@{archive}/list.txt", "--model", "zerofilled", "--undersample", "gaussian:2")
    jobs = ("--submit", executor, "--shards", 2, "--job", "timeout_min=5", "--job", "mem_gb=2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code, out, _ = command(monkeypatch, capsys, *arguments, "-o", tmp_path / "out", *jobs)
    assert code == 2, "one scan is damaged"
    assert "submitted  2 shards" in out
    expected = evaluate(read_scan_list(archive / "list.txt"), EvaluationRequest(["zerofilled"], ["gaussian:2"])).scores
    assert [(s.scan, s.psnr) for s in read_scores(tmp_path / "out")] == [(s.scan, s.psnr) for s in expected]
    assert (tmp_path / "out/report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("is_group", [True, False], ids=["Ctrl-C", "kill"])
def test_an_interruption_cancels_the_jobs_without_a_traceback(archive, tmp_path, is_group):
    """Ctrl-C interrupts all processes of the terminal, `kill` only the command."""
    words = ("evaluate", f"@{archive}/list.txt", "--model", "ktslr", "--undersample", "gaussian:2", "-o", "out")
    command = [sys.executable, "-m", "cinerecon", *words, "--submit", "local", "--set", "n_iterations=100000"]
    files = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **files) as process:
        assert process.stdout.readline().startswith(b"submitted  2 shards")
        while len(list((tmp_path / "out/shards/logs").glob("*_log.err"))) < 2:
            time.sleep(0.05)
        (os.killpg if is_group else os.kill)(process.pid, signal.SIGINT if is_group else signal.SIGTERM)
        output = process.communicate(timeout=60)[0].decode()  # the jobs hold the pipe until they end
    assert process.returncode == 130
    assert output.splitlines()[-1] == "stopped  finished scores are kept; the same command continues"
    assert "Traceback" not in output


@pytest.mark.parametrize(("present", "n", "expected"), [(None, 2, "3"), (None, 7, "1"), ("4", 2, "4")])
def test_local_shards_share_the_cores(monkeypatch, present, n, expected):
    monkeypatch.setattr("cinerecon.machine.n_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", present or "")  # also restores it after the test
    if present is None:
        del os.environ["OMP_NUM_THREADS"]
    module.share_cores(n)
    assert os.environ["OMP_NUM_THREADS"] == expected


def test_a_list_in_shards_from_the_command_line(archive, tmp_path, monkeypatch, capsys):
    arguments = (
        "recon",
        "--list",
        archive / "list.txt",
        "-m",
        "zerofilled",
        "-o",
        f"{tmp_path}/out/",
        "--format",
        "npz",
    )
    code, _, err = command(monkeypatch, capsys, "merge", tmp_path / "out")
    assert (code, "there are no shards" in err) == (2, True)
    code, out, _ = command(monkeypatch, capsys, *arguments, "--shard", "1/2")
    assert code == 0
    assert "shard 1/2 is complete" in out
    code, _, err = command(monkeypatch, capsys, "merge", tmp_path / "out")
    assert (code, "1 of 2 shards is missing: 2" in err) == (2, True)
    code, _, _ = command(monkeypatch, capsys, *arguments, "--shard", "2/2")
    assert code == 2, "one scan is damaged"
    code, out, _ = command(monkeypatch, capsys, "merge", tmp_path / "out")
    assert code == 2
    assert "4 reconstructions merged, 1 failed" in out
    code, _, err = command(monkeypatch, capsys, "recon", "-o", f"{tmp_path}/out/")
    assert (code, "no scan is given" in err) == (2, True)


def test_a_job_returns_the_error_that_ended_it(archive, tmp_path):
    options = EvaluateOptions(scans=(archive / "P0/cine.h5",), models=("zerofilled",), output=tmp_path, shard="1/1")
    assert module.ShardJob("evaluate", options)().startswith("no sampling pattern")
    options = options.model_copy(update={"undersample": ("gaussian:2",)})
    assert module.ShardJob("evaluate", options)() == ""
    assert len(read_scores(tmp_path / "shards/evaluate-1-of-1")) == 1


def test_a_job_that_is_queued_again_resumes():
    job = module.ShardJob("recon", ReconOptions(shard="1/2"))
    assert job.checkpoint().function.options == ReconOptions(shard="1/2", resume=True)


def test_wrong_requests_are_refused(archive, tmp_path):
    def submit(**values):
        given = {"scans": (archive / "P0/cine.h5",), "models": ("zerofilled",), "undersample": ("gaussian:2",)}
        module.submit(EvaluateOptions(**given | {"submit": "local"} | values), lambda _: None)

    with pytest.raises(ConfigError, match="--submit runs all shards"):
        submit(shard="1/2", output=tmp_path)
    with pytest.raises(ConfigError, match="shards need a folder"):
        submit()
    with pytest.raises(ConfigError, match="'timeout_min' is not key=value"):
        submit(output=tmp_path, job_settings=("timeout_min",))
    with pytest.raises(ConfigError, match="timeout"):
        submit(output=tmp_path, job_settings=("timeout=5",))


def test_a_job_that_left_the_queue_without_a_result_has_died(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'Invalid job id specified' >&2; exit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name in ("POLL_S", "GRACE_S"):
        monkeypatch.setattr(module, name, 0.01)
    jobs = [submitit.SlurmJob(folder=tmp_path, job_id=f"7_{number}") for number in range(2)]
    with pytest.raises(DataError, match="shard 1/2: the job ended without a result"):
        module._wait(jobs, tmp_path)
    squeue.write_text("#!/bin/sh\necho 7_0; echo 7_1\n")
    assert module._queued(jobs) == {"7_0", "7_1"}
    squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    assert module._queued(jobs) == {"7_0", "7_1"}, "still there, as far as is known"


def test_the_error_of_a_shard_is_reported_with_its_hint(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    options = ReconOptions(scans=(tmp_path, tmp_path), outputs=("a/", "b/"), shard="1/1")
    text = module.ShardJob("recon", options)()
    paths = SimpleNamespace(result_pickle=tmp_path, stderr=tmp_path / "log.err")
    job = SimpleNamespace(paths=paths, job_id="1", done=lambda: True, result=lambda: text)
    with pytest.raises(DataError) as caught:
        module._wait([job], tmp_path)
    assert caught.value.what == "shard 1/1: several scans or methods are written to one folder"
    assert caught.value.where == "-o"
    assert caught.value.hint == f"-o out/ --format .npz; log: {tmp_path}/log.err"
