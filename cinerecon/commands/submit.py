"""Shards as Slurm jobs, or as processes of this machine, through submitit."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from cinerecon.errors import ConfigError, DataError
from cinerecon.options import ArchiveOptions

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job

O = TypeVar("O", bound=ArchiveOptions)  # noqa: E741

LOGS = "logs"
"""Name of the folder for the output of the jobs, within the folder of the shards."""
POLL_S = 2.0
"""Interval at which the state of the jobs is queried [s]."""
STANDARD_ERROR = 2
"""Number of its file descriptor."""
GRACE_S = 10.0
"""Time that the result of a finished job may take to appear on a shared file system [s]."""


@dataclass(frozen=True)
class ShardJob:
    """A job that runs one shard of a command."""

    command: str
    options: ArchiveOptions

    def __call__(self) -> str:
        """Run the shard, and return the error that ended it; empty if it completed, even if some scans failed."""
        from cinerecon.errors import CineReconError

        run = getattr(import_module(f"cinerecon.commands.{self.command}"), self.command)
        try:
            run(self.options)
        except typer.Exit:
            pass
        except CineReconError as error:
            return str(error)
        return ""

    def checkpoint(self, *_: Any) -> Any:
        """The job that is submitted again if this one is stopped, and continues from there."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self, options=resumed(self.options)))


def submit(options: O, run: Callable[[O], None]) -> None:
    """Submit all shards of a command, wait for them, and merge their results; an interruption cancels the jobs.

    Raises
    ------
    ConfigError
        If submitit is not installed, a setting of the jobs is invalid, or there is no folder of results.
    DataError
        If a job terminates unexpectedly; completed shards are kept.
    """
    command, n = run.__name__, options.n_shards
    if options.shard is not None:
        raise ConfigError("--submit runs all shards", where="--shard", hint=f"--submit {options.submit} --shards {n}")
    output = output_of(options)
    executor = _executor(options, output / "shards" / LOGS, command)
    shards = [options.model_copy(update={"shard": f"{i}/{n}", "submit": None}) for i in range(1, n + 1)]
    with _own_messages(executor):
        jobs = executor.submit_array([ShardJob(command, shard) for shard in shards])
    ids = ", ".join(job.job_id for job in jobs)
    print(f"submitted  {n} shards as jobs {ids}, logs in {executor.folder}", flush=True)
    if not options.wait:
        print(f"when they are complete: cinerecon merge {output}")
        return
    try:
        _wait(jobs, output)
    except KeyboardInterrupt:
        _cancel(jobs)
        raise
    _merge(options, output)


def output_of(options: ArchiveOptions) -> Path:
    """The folder of the results of all shards.

    Raises
    ------
    ConfigError
        If there is none.
    """
    outputs = getattr(options, "outputs", None) or [getattr(options, "output", None)]
    folders = [Path(output) for output in outputs if output is not None and not Path(output).suffix]
    if not folders:
        raise ConfigError("shards need a folder for their results", where="-o", hint="-o results/")
    return folders[0]


def resumed(options: ArchiveOptions) -> ArchiveOptions:
    """The options for continuing an interrupted run."""
    return options.model_copy(update={"resume": True}) if hasattr(options, "resume") else options


def _executor(options: ArchiveOptions, logs: Path, command: str) -> "AutoExecutor":
    try:
        import submitit
    except ImportError:
        hint = "pip install 'cinerecon[submit]'"
        raise ConfigError("jobs are submitted through submitit, which is not installed", hint=hint) from None
    try:
        executor = submitit.AutoExecutor(logs, cluster=options.submit)
        if executor.cluster == "local":
            share_cores(options.n_shards)
        executor.update_parameters(name=f"cinerecon-{command}", **_parameters(options.job_settings))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        raise ConfigError(str(error).splitlines()[0], where="--submit, --job", hint="--job timeout_min=120") from None
    return executor


@contextmanager
def _own_messages(executor: "AutoExecutor") -> Iterator[None]:
    """Let local processes that are started within this context write their messages to a file in the folder of logs.

    submitit prints a traceback for each of them when Ctrl-C interrupts them together with this process.
    """
    if executor.cluster != "local":
        yield
        return
    terminal = os.dup(STANDARD_ERROR)
    with (Path(executor.folder) / "processes.err").open("ab") as file:
        os.dup2(file.fileno(), STANDARD_ERROR)
    try:
        yield
    finally:
        os.dup2(terminal, STANDARD_ERROR)
        os.close(terminal)


def share_cores(n_processes: int) -> None:
    """Let processes that are started later use equal shares of the cores, unless the number of threads is set."""
    from cinerecon.machine import n_cores

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, n_cores() // n_processes)))


def _parameters(settings: Sequence[str]) -> dict[str, Any]:
    """Settings of the jobs, ``key=value``, with values read as YAML."""
    import yaml

    parameters = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key:
            raise ConfigError(f"'{setting}' is not key=value", where="--job", hint="--job timeout_min=120")
        parameters[key] = yaml.safe_load(value)
    return parameters


def _wait(jobs: "Sequence[Job[str]]", output: Path) -> None:
    """Wait for all jobs."""
    from cinerecon.commands.console import progress_bar

    with progress_bar() as progress:
        n_finished = 0
        while n_finished < len(jobs):
            time.sleep(POLL_S)
            queued = _queued(jobs)
            n_finished = sum(job.paths.result_pickle.exists() or job.job_id not in queued for job in jobs)
            progress(f"{n_finished} of {len(jobs)} shards finished", n_finished / len(jobs))
    for number, job in enumerate(jobs, start=1):
        what, where, hint = _error_of(job)
        if what:
            hint = f"{hint or 'the same command continues'}; log: {job.paths.stderr}"
            raise DataError(f"shard {number}/{len(jobs)}: {what}", where=where or str(output), hint=hint)


def _cancel(jobs: "Sequence[Job[str]]") -> None:
    """Cancel jobs, and wait until they have ended, so that the same command can be started again."""
    for job in jobs:
        job.cancel()
    end = time.monotonic() + GRACE_S
    while _queued(jobs) and time.monotonic() < end:
        time.sleep(0.2)


def _queued(jobs: "Sequence[Job[str]]") -> set[str]:
    """The jobs that are queued or running, from squeue, since not every cluster has accounting."""
    from submitit import SlurmJob

    if not isinstance(jobs[0], SlurmJob):
        return {job.job_id for job in jobs if not job.done()}
    arrays = ",".join(sorted({job.job_id.partition("_")[0] for job in jobs}))
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={arrays}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode and "Invalid job id" not in result.stderr:  # the controller is temporarily unavailable
        return {job.job_id for job in jobs}
    return set(result.stdout.split())


def _error_of(job: "Job[str]") -> tuple[str, str, str]:
    """The error that ended a job, where it occurred, and its hint; all empty if it finished."""
    end = time.monotonic() + GRACE_S
    while not job.paths.result_pickle.exists():
        if time.monotonic() > end:
            return "the job ended without a result", "", ""
        time.sleep(0.2)
    try:
        what, *lines = job.result().split("\n")
    except Exception as error:
        return f"unexpected {type(error).__name__}", "", ""
    others = {label: text.strip() for label, _, text in (line.partition(" ") for line in lines)}
    return what, others.get("where", ""), others.get("try", "")


def _merge(options: ArchiveOptions, output: Path) -> None:
    from cinerecon.commands.merge import MergeOptions, merge

    values = {name: getattr(options, name) for name in ("baseline", "tables") if hasattr(options, name)}
    merge(MergeOptions(folder=output, **values))
