"""Undersample one slice, reconstruct it with every method, and measure the images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cinerecon.acquisition.open import ScanOpener
from cinerecon.acquisition.reference import pattern_seed, undersample
from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData
from cinerecon.errors import CineReconError, DataError, StorageError
from cinerecon.evaluation.failures import Failure, location_of
from cinerecon.evaluation.images import InitialImages, store_image
from cinerecon.evaluation.reference import Reference
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.score import Score
from cinerecon.io.checksums import require_unchanged
from cinerecon.memory import Workspace, limited_to, report_out_of_memory
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.card_warnings import card_warnings
from cinerecon.methods.memory_plan import Task as MemoryTask
from cinerecon.methods.memory_plan import make_plan
from cinerecon.methods.model_file import model_label
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.sampling import acceleration_of

LESS_MEMORY = "--workers 1, or a machine with more memory"


@dataclass(frozen=True)
class Job:
    """A slice with its remaining tasks.

    Attributes
    ----------
    path, label, number
        The file, its name in the results, the number of the slice.
    subject
        Identifier shared by the scans of a subject; the label if the subject is unknown.
    tasks
        Hash of each requested (pattern, model).
    stores_images
        Whether images of this slice are stored.
    state
        State of the scan's files for which the tasks are valid, see `io.checksums.state_of`; empty if unknown.
    """

    path: Path
    label: str
    number: int
    subject: str = ""
    tasks: Mapping[tuple[str, str], str] = field(default_factory=dict)
    stores_images: bool = False
    state: str = ""

    @property
    def where(self) -> str:
        """File and slice, for messages."""
        return f"{self.path}, slice {self.number}"

    def failed(self, error: CineReconError, pattern: str, name: str) -> Failure:
        """The record of a task that failed."""
        where = location_of(error, self.path, self.number)
        return Failure(self.label, self.number, pattern, model_label(name), error.what, where, error.hint)


def score_slice_tasks(
    job: Job, request: EvaluationRequest, methods: Mapping[str, Reconstructor], opener: ScanOpener
) -> Iterator[Score | Failure]:
    """Score the tasks of a job, pattern by pattern and method by method.

    Errors in the input are recorded for the task concerned, and the other tasks continue.
    """
    try:
        source = opener.open(job.path)
        limits, refused = plan_methods(source, job, request, methods)
        yield from (job.failed(refused[name], pattern, name) for pattern, name in job.tasks if name in refused)
        if not limits:
            return
        job = replace(job, tasks={key: task for key, task in job.tasks.items() if key[1] in limits})
        with report_out_of_memory(job.where, LESS_MEMORY):
            data = source.read_slice(job.number).to(request.device)
        if job.state:
            require_unchanged(source.files, job.state)
        scorer = SliceScorer(job, request, source, data, reference_of(data, str(job.path)))
    except CineReconError as error:
        yield from (job.failed(error, *task) for task in job.tasks)
        return
    for pattern in dict.fromkeys(pattern for pattern, _ in job.tasks):
        requested = {name: method for name, method in methods.items() if (pattern, name) in job.tasks}
        try:
            with report_out_of_memory(job.where, LESS_MEMORY):
                sampled = undersample(data, pattern, seed=pattern_seed(data, request.seed))
        except CineReconError as error:
            yield from (job.failed(error, pattern, name) for name in requested)
            continue
        images = InitialImages(sampled, request.device)
        for name, method in requested.items():
            try:
                with report_out_of_memory(job.where, LESS_MEMORY), limited_to(limits[name]):
                    outcome: Score | Failure = scorer.score(images, pattern, name, method)
            except StorageError:  # concerns the stored images, not the method
                raise
            except CineReconError as error:
                outcome = job.failed(error, pattern, name)
            yield outcome


def plan_methods(
    source: CineSource, job: Job, request: EvaluationRequest, methods: Mapping[str, Reconstructor]
) -> tuple[dict[str, Workspace], dict[str, CineReconError]]:
    """Limits of temporary arrays for each method, and errors of methods that would exceed the memory limit.

    Coils are not compressed to meet the limit, so that all methods are compared on the same data.
    """
    size = source.size_of(job.number)
    limits: dict[str, Workspace] = {}
    refused: dict[str, CineReconError] = {}
    for name, method in methods.items():
        where = f"{job.where}: {size}, {model_label(name)}"
        task = MemoryTask(
            size, size.n_frames, is_undersampled=True, is_compressible=False, device=request.device, where=where
        )
        try:
            limits[name] = make_plan(task, method, request.memory).workspace
        except CineReconError as error:
            refused[name] = error
    return limits, refused


def reference_of(data: CineData, where: str) -> Reference:
    """The reference of a slice; `where` is the location in errors.

    Raises
    ------
    DataError
        If the slice has no reference.
    """
    if data.reference is None:
        raise DataError("there is no reference to compare with", where=where, hint="a fully sampled scan")
    return Reference(
        finish_image(data.reference, data),
        data.meta.pixel_size_mm,
        data.meta.geometry,
        is_cyclic=not data.meta.is_real_time,
        n_coils=data.n_coils,
        kspace_peak=float(data.kspace.abs().amax()),
    )


@dataclass(frozen=True, eq=False)
class SliceScorer:
    """Scores methods on a slice of a scan.

    Attributes
    ----------
    job, request
        The slice, and the settings of the evaluation.
    source, data
        The scan, and its fully sampled slice.
    reference
        The reference with which the images of the methods are compared.
    """

    job: Job
    request: EvaluationRequest
    source: CineSource
    data: CineData
    reference: Reference

    def score(self, images: InitialImages, pattern: str, name: str, method: Reconstructor) -> Score:
        """Undersample the slice with a pattern, reconstruct it with a method, and measure the image.

        Raises
        ------
        DataError
            If the image is not finite.
        StorageError
            If the image cannot be stored.
        """
        job, request, sampled, label = self.job, self.request, images.data, model_label(name)
        with torch.inference_mode():
            image, usage = images.reconstruct(method)
        image = finish_image(image, sampled)
        if not image.isfinite().all():
            what = f"{label} returned an image with NaN or infinite values"
            raise DataError(what, where=f"{job.where}, {pattern}")
        measures = self.reference.measure(image, request.profile)
        task = job.tasks[pattern, name]
        if request.output and job.stores_images and task:
            store_image(request.output, task, image, self.reference.image, self.data.meta)
        return Score(
            scan=job.label,
            slice=self.data.meta.slice,
            n_coils=self.data.n_coils,
            sampling=pattern,
            method=label,
            seconds=usage.seconds,
            memory_mb=usage.memory_mb,
            n_parameters=method.n_parameters,
            n_threads=torch.get_num_threads(),
            device=request.device,
            marks="; ".join((*self.source.marks, *self._method_warnings(label, method, sampled, pattern))),
            subject=job.subject or job.label,
            acceleration=acceleration_of(sampled)[0],
            profile=request.profile,
            task=task,
            **measures,  # type: ignore[arg-type]
        )

    def _method_warnings(self, label: str, method: Reconstructor, sampled: CineData, pattern: str) -> Iterator[str]:
        """Warnings about a method that was trained on the scan, on different data, or on data prepared differently."""
        card, source = method.card, self.source
        overlap = card.training_overlap(source.checksums, source.subject) if card.cases or card.subjects else []
        yield from (f"{label}: {text}" for text in (*overlap, *card_warnings(card, sampled, pattern)))
        if method.preprocessing:
            words = ", ".join(f"{key} {value}" for key, value in method.preprocessing.items())
            yield f"{label}: trained on data prepared with {words}, but evaluated on the same data as all other methods"
