"""Judge methods alike: the same scans, the same undersampling, the same coil maps, the same measures."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from cinerecon.acquisition import find_cines, open_cine
from cinerecon.acquisition.subject import subject_in_header, subject_in_path
from cinerecon.errors import CineReconError, FileError
from cinerecon.evaluation.failures import FAILURES, Failure, append_failure, place_of, raise_first
from cinerecon.evaluation.scan_names import labels_of
from cinerecon.evaluation.score import Score, append_scores, read_scores, rewrite_scores
from cinerecon.evaluation.score_slice import Job, Plan, fingerprint_pattern, judge_slice
from cinerecon.evaluation.stored_images import image_file
from cinerecon.io.atomic import hash_file, require_folder
from cinerecon.io.ismrmrd.file import holds_images_only
from cinerecon.io.magnitude import NIFTI_ENDINGS
from cinerecon.machine import free_memory_mb, in_processes, n_cores, pick_device, process_memory_mb
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.model_paths import model_label
from cinerecon.metrics import DEFAULT_PROFILE, find_profile

RESERVE = 1.5
"""Factor on the memory that the first slice needed, since others may be larger."""

Report = Callable[[Score | Failure], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores in the order of scans, slices, patterns and methods, and failures."""

    scores: list[Score]
    failures: list[Failure]

    def complete(self) -> list[Score]:
        """The scores, where nothing failed.

        Raises
        ------
        DataError
            Otherwise: these would be means over fewer cases.
        """
        if self.failures:
            raise_first(self.failures)
        return self.scores


def evaluate(
    scans: Iterable[Path],
    models: Iterable[str],
    patterns: Iterable[str],
    *,
    seed: int = 0,
    device: str = "auto",
    settings: tuple[str, ...] = (),
    profile: str = DEFAULT_PROFILE,
    output: Path | None = None,
    workers: int = 1,
    pictures: int = 0,
    subject: str = "",
    report: Report = lambda _: None,
    kept: Callable[[int], None] = lambda _: None,
) -> Evaluation:
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
        Seed of the patterns; each slice of each scan has its own mask.
    device
        Device to run on.
    settings
        ``key=value`` texts for every method.
    profile
        Rules of measuring, see `metrics.PROFILES`.
    output
        Folder in whose ``scores.csv`` each score is saved at once; existing scores are not computed again.
    workers
        Processes that judge slices at the same time; the processor's cores are shared among them, so seconds are longer
        than alone. 0: as many as there are cores and memory for.
    pictures
        Slices, evenly chosen among all, that are kept in ``output`` as images, for figures.
    subject
        Regular expression that finds the subject in the path of a scan; empty: by the header. Confidence intervals and
        tests count subjects.
    report
        Called with each score and each failure as it is known.
    kept
        Called, before the work, with the number of scores that an earlier run left in ``output``.

    Raises
    ------
    FileError
        If there is no scan.
    ConfigError
        If a name, a pattern or a setting is wrong.
    DataError
        If all tasks fail, or a process dies. If some tasks fail, the result contains the reasons.
    """
    find_profile(profile)
    if output:
        require_folder(output)
    plan = Plan(tuple(models), tuple(patterns), settings, seed, pick_device(device), profile, output, subject)
    return _evaluate_plan(plan, scans, workers=workers, pictures=pictures, report=report, kept=kept)


def _evaluate_plan(
    plan: Plan,
    scans: Iterable[Path],
    *,
    workers: int,
    pictures: int,
    report: Report,
    kept: Callable[[int], None],
) -> Evaluation:
    """The scores of a plan on scans, for the arguments and errors of `evaluate`."""
    methods, output = plan.load_methods(), plan.output
    paths = list_scans(scans)
    jobs, unopened = list_jobs(paths, plan, methods, pictures)
    known = _known_scores(output, jobs)
    wanted = [task for job in jobs for task in job.tasks.values()]
    remaining = [job for job in (_remaining(job, plan, known) for job in jobs) if job.tasks]
    kept(len(wanted) - sum(len(job.tasks) for job in remaining))
    if output:
        (output / FAILURES).unlink(missing_ok=True)
    failures: list[Failure] = []
    for outcome in chain(unopened, _judge(remaining, plan, methods, workers)):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            known[outcome.task] = outcome
        if output:
            _append(output, outcome)
        report(outcome)
    scores = [known[task] for task in wanted if task in known]
    if failures and not scores:
        raise_first(failures)
    return Evaluation(scores, failures)


def _append(folder: Path, outcome: Score | Failure) -> None:
    """Add a score or a failure to the file of its kind."""
    if isinstance(outcome, Failure):
        append_failure(folder, outcome)
    else:
        append_scores(folder, [outcome])


def _known_scores(output: Path | None, jobs: Sequence[Job]) -> dict[str, Score]:
    """Scores of earlier runs of a folder, by task, with the subjects of this run, which are kept, too."""
    scores = read_scores(output) if output else []
    subjects = {task: job.subject for job in jobs for task in job.tasks.values()}
    current = [replace(score, subject=subjects.get(score.task, score.subject)) for score in scores]
    if output and [score.subject for score in current] != [score.subject for score in scores]:
        rewrite_scores(output, current)
    return {score.task: score for score in current}


def list_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans in files and folders: the test cases of a folder of prepared cases, all scans of other folders.

    Images that were written next to their scans are ignored.

    Raises
    ------
    FileError
        If there are none.
    """
    first: dict[Path, Path] = {}
    for path in paths:
        for file in find_cines(path, "test") if path.is_dir() else [path]:
            first.setdefault(file.resolve(), file)
    if not first:
        raise FileError("no scan to evaluate on", hint="give scans, prepared cases, or folders that hold them")
    return list(first.values())


def list_jobs(
    paths: Sequence[Path], plan: Plan, methods: Mapping[str, Reconstructor], pictures: int = 0
) -> tuple[list[Job], list[Failure]]:
    """One job for each slice, with the hash of each of its tasks; and the tasks of files that cannot be opened.

    ``pictures`` of the jobs, evenly chosen, are pictured.

    Raises
    ------
    ConfigError, DataError
        If the pattern of subjects is no regular expression, or a path does not fit it.
    """
    prints = {name: fingerprint(method) for name, method in methods.items()}
    patterns = {pattern: fingerprint_pattern(pattern) for pattern in plan.patterns}
    labels = labels_of(path.absolute() for path in paths)
    rules = (str(plan.seed), plan.profile, plan.device, version("cinerecon"))
    jobs: list[Job] = []
    failures: list[Failure] = []
    for path in paths:
        label = labels[path.absolute()]
        try:
            source = open_cine(path)
        except CineReconError as error:
            told = (error.what, place_of(error, path, None), _hint_of_images(path) or error.hint)
            failures += [Failure(label, None, p, model_label(n), *told) for p in plan.patterns for n in methods]
            continue
        subject = (subject_in_path(plan.subject, path) if plan.subject else subject_in_header(source)) or label
        # without a folder of results nothing is looked up, and large files need not be read twice
        content = ",".join(map(hash_file, source.files)) if plan.output else str(path)
        for number in range(source.n_slices):
            tasks = {
                (pattern, name): _hash(label, content, str(number), patterns[pattern], prints[name], *rules)
                for pattern in plan.patterns
                for name in methods
            }
            jobs.append(Job(path, label, number, subject, tasks))
    chosen = {(2 * i + 1) * len(jobs) // (2 * pictures) for i in range(pictures)}
    return [replace(job, is_pictured=index in chosen) for index, job in enumerate(jobs)], failures


def _hint_of_images(path: Path) -> str:
    """How images are evaluated, for a file that is no scan but looks like images; empty for others."""
    is_image = path.name.lower().endswith((".npz", ".npy", ".dcm", *NIFTI_ENDINGS)) or holds_images_only(path)
    return f"if these are images: cinerecon evaluate --recon {path} --reference TRUTH" if is_image else ""


def _remaining(job: Job, plan: Plan, scores: Mapping[str, Score]) -> Job:
    """The job without what is known: a score, and the images where they are wanted."""

    def is_done(task: str) -> bool:
        has_image = plan.output is None or not job.is_pictured or image_file(plan.output, task).exists()
        return task in scores and has_image

    return replace(job, tasks={key: task for key, task in job.tasks.items() if not is_done(task)})


def _judge(
    jobs: list[Job], plan: Plan, methods: Mapping[str, Reconstructor], workers: int
) -> Iterator[Score | Failure]:
    """Scores as they are known, here or in processes of their own."""
    ahead = iter(jobs)
    if workers == 0:
        most: float | None = None
        for job in ahead:
            for outcome in judge_slice(job, plan, methods):
                if isinstance(outcome, Score):
                    most = max(most or 0.0, outcome.memory_mb)
                yield outcome
            if most is not None:  # it is known what a slice takes
                break
        workers = _affordable(plan, most or 0.0)
    rest = list(ahead)
    workers = min(workers, len(rest))
    if workers > 1:
        for outcomes in in_processes(_Worker.judge, rest, workers, partial(_Worker.start, plan)):
            yield from outcomes
        return
    for job in rest:
        yield from judge_slice(job, plan, methods)


class _Worker:
    """State of a worker process that scores slices."""

    plan: Plan
    methods: Mapping[str, Reconstructor]

    @classmethod
    def start(cls, plan: Plan) -> None:
        cls.plan, cls.methods = plan, plan.load_methods()

    @classmethod
    def judge(cls, job: Job) -> list[Score | Failure]:
        return list(judge_slice(job, cls.plan, cls.methods))


def _affordable(plan: Plan, reconstruction_mb: float) -> int:
    """Number of processes that cores and memory allow, estimated from the first slice; a GPU is not shared."""
    if plan.device != "cpu":
        return 1
    each = RESERVE * (process_memory_mb() + reconstruction_mb)
    return int(min(n_cores(), max(1.0, free_memory_mb() // each))) if each > 0 else 1


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
