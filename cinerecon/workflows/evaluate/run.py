"""Judge methods alike: the same scans, the same undersampling, the same coil maps, the same measures."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from cinerecon.data.case_index import INDEX, hash_file, list_cases
from cinerecon.data.cmrxrecon import is_kspace_name
from cinerecon.data.mrd_file import holds_images_only
from cinerecon.errors import FileError
from cinerecon.methods.base import Reconstructor
from cinerecon.metrics import find_profile
from cinerecon.workflows.evaluate.judge import (
    Job,
    Plan,
    fingerprint,
    fingerprint_pattern,
    image_file,
    judge_slice,
)
from cinerecon.workflows.evaluate.score import Score, append_scores, read_scores
from cinerecon.workflows.intake import open_cine
from cinerecon.workflows.machine import free_memory_mb, in_processes, n_cores, pick_device, process_memory_mb

SCAN_ENDINGS = (".h5", ".mrd")
RESERVE = 1.5
"""Of the memory that the first slice took: others may be larger."""

Report = Callable[[Score], None]


def evaluate(
    scans: Iterable[Path],
    models: Iterable[str],
    patterns: Iterable[str],
    *,
    seed: int = 0,
    device: str = "auto",
    settings: tuple[str, ...] = (),
    profile: str = "cine",
    output: Path | None = None,
    workers: int = 1,
    pictures: int = 0,
    report: Report = lambda _: None,
) -> list[Score]:
    """Undersample fully sampled scans and reconstruct them with every method.

    Parameters
    ----------
    scans
        Raw scans, prepared cases, CMRxRecon files, or folders of them.
    models
        Names of methods or folders of trained networks.
    patterns
        Sampling patterns, see `physics.sampling`.
    seed
        Of the patterns; each slice of each scan has a mask of its own.
    device
        Where to run.
    settings
        ``key=value`` texts for every method.
    profile
        Rules of measuring, see `metrics.PROFILES`.
    output
        Folder whose ``scores.csv`` gets each score as it is known; what stands there already is not computed again.
    workers
        Processes that judge slices at the same time; the processor's cores are shared among them, so seconds are longer
        than alone. 0: as many as there are cores and memory for.
    pictures
        Number of scans whose middle slice is kept in ``output`` as images, for figures.
    report
        Called with each score as it is known.

    Raises
    ------
    FileError
        If there is no scan.
    DataError
        If a scan is undersampled and carries no truth.
    ConfigError
        If a name, a pattern or a setting is wrong.
    """
    find_profile(profile)
    plan = Plan(tuple(models), tuple(patterns), settings, seed, pick_device(device), profile, output)
    methods = plan.load_methods()
    jobs = list_jobs(list_scans(scans), plan, methods, pictures)
    scores = {score.task: score for score in read_scores(output)} if output else {}
    remaining = [job for job in (_remaining(job, plan, scores) for job in jobs) if job.tasks]
    for score in _judge(remaining, plan, methods, workers):
        if output:
            append_scores(output, [score])
        scores[score.task] = score
        report(score)
    return [scores[task] for job in jobs for task in job.tasks.values()]


def list_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans among files and folders: of a folder of prepared cases those for testing, of others all that lie in it.

    Images that were written beside their scans are passed over.

    Raises
    ------
    FileError
        If there are none.
    """
    found: list[Path] = []
    for path in dict.fromkeys(paths):
        if (path / INDEX).exists():
            found += list_cases(path, "test")
        elif path.is_dir():
            visible = sorted(p for p in path.rglob("*") if not p.name.startswith("."))
            scans = (p for p in visible if p.suffix in SCAN_ENDINGS and not holds_images_only(p))
            found += sorted([*scans, *(p for p in visible if is_kspace_name(p))])
        else:
            found.append(path)
    found = list(dict.fromkeys(found))
    if not found:
        raise FileError("no scan to evaluate on", hint="give scans, prepared cases, or folders that hold them")
    return found


def list_jobs(paths: list[Path], plan: Plan, methods: Mapping[str, Reconstructor], pictures: int = 0) -> list[Job]:
    """One job for each slice, with the hash of each of its tasks; ``pictures`` of them, evenly chosen, are pictured.

    Raises
    ------
    CineReconError
        If a file cannot be read.
    """
    prints = {name: fingerprint(method) for name, method in methods.items()}
    patterns = {pattern: fingerprint_pattern(pattern) for pattern in plan.patterns}
    stems = Counter(path.stem for path in paths)
    rules = (str(plan.seed), plan.profile, plan.device, version("cinerecon"))
    jobs = []
    for path in paths:
        source = open_cine(path)
        # without a folder of results nothing is looked up, and large files need not be read twice
        content = ",".join(map(hash_file, source.files)) if plan.output else str(path)
        label = path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.stem}"
        for number in range(source.n_slices):
            tasks = {
                (pattern, name): _hash(path.stem, content, str(number), patterns[pattern], prints[name], *rules)
                for pattern in plan.patterns
                for name in methods
            }
            jobs.append(Job(path, label, number, tasks))
    chosen = {(2 * i + 1) * len(jobs) // (2 * pictures) for i in range(pictures)}
    return [replace(job, is_pictured=index in chosen) for index, job in enumerate(jobs)]


def _remaining(job: Job, plan: Plan, scores: Mapping[str, Score]) -> Job:
    """The job without what is known: a score, and the images where they are wanted."""

    def is_done(task: str) -> bool:
        has_image = plan.output is None or not job.is_pictured or image_file(plan.output, task).exists()
        return task in scores and has_image

    return replace(job, tasks={key: task for key, task in job.tasks.items() if not is_done(task)})


def _judge(jobs: list[Job], plan: Plan, methods: Mapping[str, Reconstructor], workers: int) -> Iterator[Score]:
    """Scores as they are known, here or in processes of their own."""
    n_here = len(jobs) if workers == 1 else 1 if workers == 0 else 0
    most = 0.0
    for job in jobs[:n_here]:
        for score in judge_slice(job, plan, methods):
            most = max(most, score.memory_mb)
            yield score
    jobs = jobs[n_here:]
    if not jobs:
        return
    workers = min(len(jobs), workers or _affordable(plan, most))
    if workers == 1:
        for job in jobs:
            yield from judge_slice(job, plan, methods)
        return
    for scores in in_processes(_Worker.judge, jobs, workers, partial(_Worker.start, plan), option="--workers"):
        yield from scores


class _Worker:
    """What a process holds that judges slices for another one."""

    plan: Plan
    methods: Mapping[str, Reconstructor]

    @classmethod
    def start(cls, plan: Plan) -> None:
        cls.plan, cls.methods = plan, plan.load_methods()

    @classmethod
    def judge(cls, job: Job) -> list[Score]:
        return list(judge_slice(job, cls.plan, cls.methods))


def _affordable(plan: Plan, reconstruction_mb: float) -> int:
    """How many processes there are cores and memory for, from what the first slice took; a GPU is not shared."""
    if plan.device != "cpu":
        return 1
    each = RESERVE * (process_memory_mb() + reconstruction_mb)
    return int(min(n_cores(), max(1.0, free_memory_mb() // each))) if each > 0 else 1


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
