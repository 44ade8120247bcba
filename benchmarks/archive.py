"""Overhead in a simulated archive of thousands of scans: time and memory per scan, resumption, gain of two shards.

    python benchmarks/archive.py /tmp/archive --scans 20000 --worked 700 --write

Scans have 16 x 16 pixels, 2 frames and 2 coils, so that nearly all of the time is overhead: opening, checks, records.
``--worked`` scans are processed. ``--scans`` scans are listed for a run that is killed and resumed, with 19 of 20 of
them finished. If other programs are running, CPU times are more meaningful than wall times.

Results are stored in ``results.json`` in the folder: after an interruption, the same command continues with the part
that was interrupted. ``--again`` measures everything again.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from command import make_parser, positive, run_benchmark
from pages import machine, markdown_table, write_section

from cinerecon.archives.case_index import append_rows, read_index
from cinerecon.archives.shards import Shard
from cinerecon.evaluation.jobs import JobList, Listing
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import append_scores, read_scores
from cinerecon.io.atomic import write_text
from cinerecon.io.checksums import file_state
from cinerecon.machine import pick_device
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.folder import CaseFolder
from cinerecon.preparation.prepare_slice import Survey
from cinerecon.preparation.run import prepare
from cinerecon.preparation.sources import find_sources
from cinerecon.provenance import hashed_name
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import BatchRun, run_batch
from cinerecon.reconstruction.record import Outcome
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, load_request_method
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SUBJECT = "subject00000"
TEMPLATE = SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, subject=SUBJECT)
COMMANDS = {
    "recon": ("--model", "zerofilled", "--format", "npz", "--resume", "--quiet"),
    "prepare": ("--no-pictures", "--workers", "1"),
    "evaluate": ("--model", "zerofilled", "--undersample", "gaussian:2", "--pictures", "0"),
}


@dataclass
class Run:
    """Wall time and CPU time [s], and peak memory [MB] of a process."""

    seconds: float
    cpu_seconds: float
    memory_mb: float


def make_archive(folder: Path, n_scans: int) -> list[Path]:
    """Copies of a scan, each with a different subject, 1000 in a folder."""
    template = write_template(folder)
    content, name = template.read_bytes(), hashed_name(SUBJECT).encode()
    assert content.count(name) == 1
    scans = []
    for number in range(n_scans):
        path = folder / f"scans/{number // 1000:02d}/{number:05d}.h5"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(name, name[:-5] + f"{number:05d}".encode()))
        scans.append(path)
    return scans


def link_archive(folder: Path, n_scans: int) -> list[Path]:
    """Links to one scan, 1000 in a folder; sufficient if only names, sizes and times of files matter."""
    template = write_template(folder)
    scans = [folder / f"linked/{number // 1000:02d}/{number:05d}.h5" for number in range(n_scans)]
    for path in scans:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.hardlink_to(template)
    return scans


def write_template(folder: Path) -> Path:
    """Simulate the scan that is copied, unless it exists."""
    template = folder / "template.h5"
    if not template.exists():
        simulate_scan(template, TEMPLATE)
    return template


def write_list(folder: Path, name: str, scans: list[Path]) -> Path:
    """Write a list of scans."""
    path = folder / f"{name}.txt"
    path.write_text("".join(f"{scan.relative_to(folder)}\n" for scan in scans))
    return path


def start(command: str, scans: Path, output: Path, *options: str) -> subprocess.Popen:
    """Start a command on a list of scans, with one thread, so that two shards share two cores."""
    arguments = [sys.executable, "-m", "cinerecon.cli", command, f"@{scans}", "-o", f"{output}/"]
    with output.with_name(output.name + ".log").open("a") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*arguments, *COMMANDS[command], *options], stdout=log, stderr=log, env=environment)


def finish(process: subprocess.Popen, begin: float) -> Run:
    """Wait for a process that was started at a time of `perf_counter`, and measure it."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -signal.SIGKILL):
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Run(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def has_ended(process: subprocess.Popen) -> bool:
    """Whether a process has ended; `finish` can still measure it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run(command: str, scans: Path, output: Path, *options: str) -> Run:
    """Run a command on a list of scans."""
    begin = time.perf_counter()
    return finish(start(command, scans, output, *options), begin)


def measure_work(command: str, folder: Path, scans: list[Path]) -> dict[str, float]:
    """Time and memory per scan, from a run on a tenth of the scans and one on all of them; and the gain of two shards.

    The gain does not count the start of the processes, which is extrapolated from the first two runs to no scans.
    """
    n_few = len(scans) // 10
    short = run(command, write_list(folder, "few", scans[:n_few]), folder / f"out/{command}-few", "--shard", "1/1")
    list_file = write_list(folder, "worked", scans)
    whole = run(command, list_file, folder / f"out/{command}-worked", "--shard", "1/1")
    begin = time.perf_counter()
    started = [start(command, list_file, folder / f"out/{command}-by-2", "--shard", f"{i}/2") for i in (1, 2)]
    shards = [finish(process, begin) for process in started]
    n = len(scans) - n_few
    wall, cpu = (whole.seconds - short.seconds) / n, (whole.cpu_seconds - short.cpu_seconds) / n
    start_wall, start_cpu = whole.seconds - len(scans) * wall, whole.cpu_seconds - len(scans) * cpu
    shard_wall, shard_cpu = max(part.seconds for part in shards), max(part.cpu_seconds for part in shards)
    return {
        "ms per scan": 1000 * wall,
        "CPU ms per scan": 1000 * cpu,
        "peak memory [MB]": whole.memory_mb,
        "growth per scan [kB]": 1024 * (whole.memory_mb - short.memory_mb) / n,
        "gain of two shards": len(scans) * wall / (shard_wall - start_wall),
        "gain of two shards, CPU": len(scans) * cpu / (shard_cpu - start_cpu),
    }


def n_recorded(output: Path) -> int:
    """Number of lines in the records of all shards: one for each result, or for each source of cases."""
    names = ("recon.jsonl", "sources.jsonl", "scores.csv")
    return sum(path.read_bytes().count(b"\n") for name in names for path in output.glob(f"shards/*/{name}"))


def fill_recon(output: Path, scans: list[Path], finished: int) -> None:
    """Record the first scans as reconstructed; their images are links to that of the first one."""
    common = ReconRequest(scans[0], "zerofilled", resume=True)
    batch = plan_batch(scans, ["zerofilled"], [f"{output}/"], [".npz"], common, Shard())
    run_batch(replace(batch, names={scans[0]: batch.names[scans[0]]}))
    common = common.with_values(device=pick_device())
    methods = {"zerofilled": load_request_method(common)}
    filled = BatchRun(replace(batch, common=common), methods, Observer())
    first = Path(batch.requests(scans[0])[0].outputs[0])
    for scan in scans[1:finished]:
        (request,) = filled.batch.requests(scan)
        Path(request.outputs[0]).hardlink_to(first)
        outcome = Outcome(batch.names[scan], "zerofilled", {"slices": 1}, request.outputs)
        replace(filled.entry(request), identity=filled.identity(request)).add(outcome)


def fill_evaluate(output: Path, scans: list[Path], finished: int) -> None:
    """Record the first scans as scored, each with the score of the first one."""
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], output=output)
    evaluate(scans[:1], request, shard=Shard())
    records = Shard().folder(output, "evaluate")
    (score,) = read_scores(records)
    request = replace(request, device=pick_device())
    listing = Listing(records)
    first = listing.find(scans[0])
    jobs = JobList(scans, request, request.load_methods(), listing)
    for scan in scans[1:finished]:
        files = [[str(scan), *file_state(scan)]]
        entry = {"files": files, "n_slices": 1, "content": first.content, "subject": first.subject}
        listing._journal.add(str(scan), entry)
        (job,) = jobs.known_jobs(scan)
        (task,) = job.tasks.values()
        append_scores(records, [replace(score, scan=job.label, task=task)])


def fill_prepare(output: Path, scans: list[Path], finished: int) -> None:
    """Record the first scans as prepared; their cases are links to that of the first one."""
    prepare([], output, workers=1, pictures=False, listed=scans[:1], shard=Shard())
    records = Shard().folder(output, "prepare")
    (row,) = read_index(records)
    prepared = CaseFolder(output, records, PrepareConfig())
    sources, _ = find_sources([], output, scans)
    (item,) = prepared.find(sources[0])
    for source in sources[1:finished]:
        sha256 = hashlib.sha256(source.name.encode()).hexdigest()  # scans of equal content would count once
        copy = replace(item, source=source, name=source.name, sha256=sha256)
        case = replace(row, case=f"{row.split}/{copy.case_name(0)}.h5", source=str(source.path), source_sha256=sha256)
        (output / case.case).hardlink_to(output / row.case)
        prepared.add_survey(Survey(source, (copy,), (source.path,)))
        append_rows(records, [case])
        prepared.add_cases([case])


FILL = {"recon": fill_recon, "evaluate": fill_evaluate, "prepare": fill_prepare}


def measure_resume(command: str, folder: Path, scans: list[Path]) -> dict[str, float]:
    """Time from the start of a resumed run to its next result, where nearly all scans were finished before.

    Instead of processing these scans, their records are written by functions of the package, without forcing each line
    to the disk.
    """
    output, fsync = folder / f"out/{command}-resumed", os.fsync
    os.fsync = lambda _: None
    FILL[command](output, scans, len(scans) - max(50, len(scans) // 20))
    os.fsync = fsync
    list_file = write_list(folder, "linked", scans)
    for _ in range(2):
        before, begin = n_recorded(output), time.perf_counter()
        process = start(command, list_file, output, "--shard", "1/1")
        while n_recorded(output) == before and not has_ended(process):
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)  # `Popen.kill` would reap a process that has ended
        resumed = finish(process, begin)
        assert before < n_recorded(output) <= len(scans) + 1, f"see {output}.log"
        assert "error" not in output.with_name(output.name + ".log").read_text(), f"see {output}.log"
    return {
        "scans finished": before,
        "next result after [s]": resumed.seconds,
        "next result after [CPU s]": resumed.cpu_seconds,
        "memory of the resumed run [MB]": resumed.memory_mb,
    }


def measure(command: str, part: str, folder: Path, worked: list[Path], linked: list[Path]) -> dict[str, float]:
    """Remove earlier outputs of a command, and make one part of its measurements; includes the load at the start."""
    for former in (folder / "out").glob(f"{command}-*"):
        shutil.rmtree(former) if former.is_dir() else former.unlink()
    load = os.getloadavg()[0]
    figures = measure_work(command, folder, worked) if part == "work" else measure_resume(command, folder, linked)
    return {"load at the start": load} | figures


def describe(results: dict[str, dict[str, float]], n_worked: int, n_scans: int) -> str:
    """A table of the commands for which both parts are measured."""
    heads = "command", "per scan [ms]", "CPU [ms]", "peak memory [MB]", "growth per scan [kB]", "resumed after [s]"
    rows = []
    for command in COMMANDS:
        work, resume = results.get(f"{command} work {n_worked}"), results.get(f"{command} resume {n_scans}")
        if work and resume:
            cells = (
                f"{work['ms per scan']:.0f}",
                f"{work['CPU ms per scan']:.0f}",
                f"{work['peak memory [MB]']:.0f}",
                f"{work['growth per scan [kB]']:.1f}",
                f"{resume['next result after [s]']:.1f}",
                f"{resume['next result after [CPU s]']:.1f}",
                f"{work['load at the start']:.1f}, {resume['load at the start']:.1f}",
                f"{work['gain of two shards']:.2f} x, {work['gain of two shards, CPU']:.2f} x",
            )
            rows.append((f"`{command}`", *cells))
    table = markdown_table((*heads, "CPU [s]", "load of the machine", "two shards, wall and CPU"), rows)
    about = f"{n_worked:,} scans processed; {n_scans:,} listed, of which 19 in 20 were finished."
    return f"{machine(n_threads=1)} {about}\n\n{table}"


def main() -> None:
    """Make the measurements that are not stored yet, and print all as JSON."""
    parser = make_parser(__doc__, writes="the table to docs/benchmarks.md")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=positive, default=20_000, help="scans of the resumed run")
    parser.add_argument("--worked", type=positive, default=2000, help="scans that are processed")
    parser.add_argument("--command", choices=COMMANDS, action="append", help="default: all")
    parser.add_argument("--part", choices=("work", "resume"), action="append", help="default: both")
    parser.add_argument("--again", action="store_true", help="ignore results.json")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    (folder / "out").mkdir(parents=True, exist_ok=True)
    worked, linked = make_archive(folder, arguments.worked), link_archive(folder, arguments.scans)
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.exists() and not arguments.again else {}
    print(json.dumps({"cores": os.cpu_count(), "scans": len(linked), "worked": len(worked)}))
    for command in arguments.command or COMMANDS:
        for part in arguments.part or ("work", "resume"):
            key = f"{command} {part} {len(worked) if part == 'work' else len(linked)}"
            if key not in results:
                figures = measure(command, part, folder, worked, linked)
                results[key] = {name: round(v, 3) if isinstance(v, float) else v for name, v in figures.items()}
                write_text(path, json.dumps(results, indent=1) + "\n")
            print(json.dumps({key: results[key]}), flush=True)
    if arguments.write:
        write_section("archive", describe(results, len(worked), len(linked)))


if __name__ == "__main__":
    run_benchmark(main)
