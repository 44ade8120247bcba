"""Evaluate methods on the same scans, with the same undersampling, coil maps and measures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cinerecon.acquisition.open import ScanOpener
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, ShardRecord, finish_shard, start_shard
from cinerecon.errors import CineReconError, ConfigError, FileError, StorageError
from cinerecon.evaluation.failures import FAILURES, Failure, append_failure, raise_first
from cinerecon.evaluation.images import image_file
from cinerecon.evaluation.jobs import COMMAND, JobList, Listing, identity_of, list_scans
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.score import Score, append_scores, iterate_scores, repair_scores, rewrite_scores
from cinerecon.evaluation.score_slice import Job, score_slice_tasks
from cinerecon.io.atomic import clear_partial
from cinerecon.io.output_folder import FolderKind, require_folder_of, sole_writer
from cinerecon.machine import free_memory_mb, in_processes, n_cores, pick_device, process_memory_mb
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.model_file import model_label
from cinerecon.metrics import find_profile
from cinerecon.options import EVALUATION_WORKERS

MEMORY_RESERVE = 1.5
"""Factor on the memory required for the first slice, since other slices may be larger."""

Report = Callable[[Score | Failure], None]


@dataclass(frozen=True)
class Evaluation:
    """Scores, in the order of scans, slices, patterns and methods, and failures."""

    scores: list[Score]
    failures: list[Failure]

    def complete(self) -> list[Score]:
        """The scores, provided that no task failed.

        Raises
        ------
        DataError
            If a task failed, since means would be over fewer cases.
        """
        if self.failures:
            raise_first(self.failures)
        return self.scores


def evaluate(
    scans: Iterable[Path],
    request: EvaluationRequest,
    *,
    workers: int = EVALUATION_WORKERS,
    shard: Shard | None = None,
    report: Report = lambda _: None,
    report_existing: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Undersample fully sampled scans and reconstruct them with every method.

    Parameters
    ----------
    scans
        Raw scans, prepared cases, CMRxRecon files, or folders of them.
    request
        Methods, sampling patterns and settings.
    workers
        Number of processes that score slices in parallel; they share the cores, so that each reconstruction takes
        longer. 0 means as many as cores and memory allow.
    shard
        Only this part of the scans is scored; no scores are returned, but `merge_scores` writes them to the output
        folder.
    report
        Called with each score and each failure.
    report_existing
        Called at the start with the number of scores that an earlier run has written to the output folder.

    Raises
    ------
    FileError
        If there is no scan, the disk is full, or another process uses the folder or the shard.
    ConfigError
        If a name, a pattern or a setting is wrong.
    DataError
        If all tasks fail, or a process terminates. If some tasks fail, the result contains the reasons.
    """
    find_profile(request.profile)
    if shard and not request.output:
        raise ConfigError("shards need a folder for their scores", where="-o", hint="-o results/")
    request = replace(request, device=pick_device(request.device))
    methods, output = request.load_methods(), request.output
    records = shard.folder(output, COMMAND) if shard and output else output
    if output:
        require_folder_of(FolderKind.SCORES, output)
    with sole_writer(records) if records else nullcontext():
        if output:
            clear_partial(output)
        opener = ScanOpener(request.config)
        listing = Listing(records, opener)
        jobs = JobList(list_scans(scans, listing, output), request, methods, listing, shard)
        shard_record = _start_shard(jobs, shard)
        ScanNames(output, COMMAND).record({path: jobs.labels[path] for path in jobs.scans}, shard)
        run = _Run(jobs, records, report)
        report_existing(run.count_done())
        for outcome in _score_jobs(run.remaining(), request, methods, opener, workers):
            run.add(outcome)
        run.update_subjects()
        if shard_record is not None and output:
            finish_shard(output, shard_record, tasks=run.tasks_by_scan)
            return Evaluation([], run.failures)
        return run.result()


def _start_shard(jobs: JobList, shard: Shard | None) -> ShardRecord | None:
    """The record of a shard that is started; None for a run over all scans."""
    output = jobs.request.output
    if shard is None or output is None:
        return None
    return start_shard(output, COMMAND, shard, list(jobs.labels.values()), identity_of(jobs.request, jobs.fingerprints))


class _Run:
    """Progress of a run: completed and remaining tasks.

    Scores in a folder are read when needed; only their hashes and subjects are kept in memory.

    Parameters
    ----------
    jobs
        The jobs.
    records
        Folder of the scores and failures; None keeps the scores in memory.
    report
        Called with each score and failure.
    """

    def __init__(self, jobs: JobList, records: Path | None, report: Report) -> None:
        self._jobs, self._records, self._report = jobs, records, report
        self._scores: dict[str, Score] = {}
        self._subject_of_done: dict[str, str] = {}
        self._changed_subjects: dict[str, str] = {}
        self.tasks_by_scan: dict[str, list[tuple[str, int, str, str]]] = {}
        self.failures: list[Failure] = []
        if records is None or jobs.request.output is None:
            return
        repair_scores(records)
        for folder in dict.fromkeys((jobs.request.output, records)):
            self._subject_of_done |= {score.task: score.subject for score in iterate_scores(folder)}
        (records / FAILURES).unlink(missing_ok=True)

    def count_done(self) -> int:
        """Number of tasks that an earlier run has completed; no scan is opened to count them."""
        recorded = (job for path in self._jobs.scans for job in self._jobs.known_jobs(path))
        jobs = recorded if self._subject_of_done else ()
        return sum(len(job.tasks) - len(self._rest(job).tasks) for job in jobs)

    def remaining(self) -> Iterator[Job]:
        """The jobs with their remaining tasks, one at a time."""
        for path in self._jobs.scans:
            try:
                scan = self._jobs.read(path)
            except StorageError:  # concerns the records, not the scan
                raise
            except CineReconError as error:
                for failure in self._jobs.failures(path, error):
                    self.add(failure)
                continue
            for job in self._jobs.jobs(path, scan):
                self.tasks_by_scan.setdefault(job.label, []).extend(
                    (task, job.number, pattern, model_label(name)) for (pattern, name), task in job.tasks.items()
                )
                for task in job.tasks.values():
                    if self._subject_of_done.get(task, job.subject) != job.subject:
                        self._changed_subjects[task] = job.subject
                rest = self._rest(job)
                if rest.tasks:
                    yield rest

    def add(self, outcome: Score | Failure) -> None:
        """Record a score or a failure."""
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            if self._records:
                append_failure(self._records, outcome)
        elif self._records:
            append_scores(self._records, [outcome])
            self._changed_subjects.pop(outcome.task, None)
        else:
            self._scores[outcome.task] = outcome
        self._report(outcome)

    def update_subjects(self) -> None:
        """Write the subjects of this run to scores of earlier runs, without changing other values."""
        if self._records and self._changed_subjects:
            scores = list(iterate_scores(self._records))
            changed = [
                replace(score, subject=self._changed_subjects.get(score.task, score.subject)) for score in scores
            ]
            rewrite_scores(self._records, changed)

    def result(self) -> Evaluation:
        """The scores of all tasks of this run, in the order of scans, slices, patterns and methods, and the failures.

        Raises
        ------
        DataError
            If all tasks failed.
        """
        tasks = dict.fromkeys(task for tasks in self.tasks_by_scan.values() for task, *_ in tasks)
        if self._records:
            self._scores = {score.task: score for score in iterate_scores(self._records) if score.task in tasks}
        scores = [self._scores[task] for task in tasks if task in self._scores]
        if self.failures and not scores:
            raise_first(self.failures)
        return Evaluation(scores, self.failures)

    def _rest(self, job: Job) -> Job:
        """The job without the tasks that have a score and, if requested, stored images."""
        output = self._jobs.request.output

        def is_done(task: str) -> bool:
            has_image = output is None or not job.stores_images or image_file(output, task).exists()
            return task in self._subject_of_done and has_image

        return replace(job, tasks={key: task for key, task in job.tasks.items() if not is_done(task)})


def _score_jobs(
    jobs: Iterator[Job],
    request: EvaluationRequest,
    methods: Mapping[str, Reconstructor],
    opener: ScanOpener,
    workers: int,
) -> Iterator[Score | Failure]:
    """Iterate over the scores, which are computed in this process or in several processes."""
    if workers == 0:
        memory_mb: float | None = None  # of the first slice, the largest of all methods
        for job in jobs:
            for outcome in score_slice_tasks(job, request, methods, opener):
                if isinstance(outcome, Score):
                    memory_mb = max(memory_mb or 0.0, outcome.memory_mb)
                yield outcome
            if memory_mb is not None:
                break
        workers = _n_workers(request, memory_mb or 0.0)
    if workers > 1:
        fingerprints = {name: fingerprint(method) for name, method in methods.items()}
        request = request if request.memory is None else replace(request, memory=request.memory // workers)
        for outcomes in in_processes(_Worker(request, fingerprints), jobs, workers):
            yield from outcomes
        return
    for job in jobs:
        yield from score_slice_tasks(job, request, methods, opener)


class _Worker:
    """Scores slices in a separate process, which loads the methods and keeps the last scan open."""

    def __init__(self, request: EvaluationRequest, fingerprints: Mapping[str, str]) -> None:
        self.request, self.fingerprints = request, fingerprints
        self.opener = ScanOpener(request.config)

    @cached_property
    def methods(self) -> Mapping[str, Reconstructor]:
        """The methods, which are loaded for the first slice.

        Raises
        ------
        FileError
            If the code or the weights of a method have changed since the start of the run.
        """
        methods = self.request.load_methods()
        changed = [name for name, method in methods.items() if fingerprint(method) != self.fingerprints[name]]
        if changed:
            what = f"the code or the weights of {model_label(changed[0])} have changed since the start of the run"
            raise FileError(what, where=changed[0], hint="repeat the command")
        return methods

    def __call__(self, job: Job) -> list[Score | Failure]:
        return list(score_slice_tasks(job, self.request, self.methods, self.opener))


def _n_workers(request: EvaluationRequest, reconstruction_mb: float) -> int:
    """Number of processes for which cores and memory suffice, given the memory of the first slice; 1 on a GPU."""
    if request.device != "cpu":
        return 1
    each = MEMORY_RESERVE * (process_memory_mb() + reconstruction_mb)
    free_mb = free_memory_mb() if request.memory is None else min(free_memory_mb(), request.memory / 2**20)
    return int(min(n_cores(), max(1.0, free_mb // each))) if each > 0 else 1
