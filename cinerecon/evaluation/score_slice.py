"""Undersample one slice, reconstruct it with every method, and measure the images."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from cinerecon.acquisition.open import ScanOpener
from cinerecon.acquisition.reference import pattern_seed, undersample
from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData, finish_image
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import CineReconError, DataError, StorageError
from cinerecon.evaluation.failures import Failure, location_of
from cinerecon.evaluation.images import InitialImages, store_image
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.score import Score
from cinerecon.memory import Workspace, limited_to, report_out_of_memory
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.card_warnings import card_warnings
from cinerecon.methods.memory_plan import Task as MemoryTask
from cinerecon.methods.memory_plan import make_plan
from cinerecon.methods.model_file import model_label
from cinerecon.metrics import (
    Heart,
    area_agreement,
    compare_frames,
    find_heart,
    find_profile,
    hfen,
    measure,
    nmse,
    psnr,
    scan_correlation,
    ssim,
    temporal_sharpness,
    xt_ssim,
)
from cinerecon.metrics.measures import HFEN_SIZE
from cinerecon.metrics.ventricle import Ventricle, areas_mm2, locate_ventricle, relative_sharpness, segment
from cinerecon.physics.sampling import acceleration_of

Measures = dict[str, float | str | tuple[float, ...]]
"""Measures of an image by the names that `Score` has for them."""


@dataclass(frozen=True)
class Job:
    """One slice with its remaining tasks.

    Attributes
    ----------
    path, label, number
        The file, its name in the results, the number of the slice.
    subject
        A word that scans of one subject share; the label where the subject is unknown.
    tasks
        Hash of each requested (pattern, model).
    stores_images
        Whether its images are stored.
    """

    path: Path
    label: str
    number: int
    subject: str = ""
    tasks: Mapping[tuple[str, str], str] = field(default_factory=dict)
    stores_images: bool = False

    def failed(self, error: CineReconError, pattern: str, name: str) -> Failure:
        """The record of a task that failed."""
        where = location_of(error, self.path, self.number)
        return Failure(self.label, self.number, pattern, model_label(name), error.what, where, error.hint)


@dataclass(frozen=True, eq=False)
class Truth:
    """A fully sampled slice, with which the images of all methods are compared.

    Attributes
    ----------
    source, data
        The scan, and the slice of it.
    reference
        ``(frames, y, x)`` complex.
    heart
        The box around the heart; None where nothing moves.
    kspace_peak
        Largest magnitude of its k-space.
    ventricle
        The left ventricle; None if it is not found.
    """

    source: CineSource
    data: CineData
    reference: Tensor
    heart: Heart | None
    kspace_peak: float
    ventricle: Ventricle | None = None

    @classmethod
    def of_slice(cls, source: CineSource, data: CineData, where: str) -> Self:
        """The truth of a slice of a scan, which errors name.

        Raises
        ------
        DataError
            If it has none.
        """
        if data.reference is None:
            raise DataError("there is no truth to compare with", where=where, hint="a fully sampled scan")
        reference = finish_image(data.reference, data)
        peak, size_mm = float(data.kspace.abs().amax()), data.meta.pixel_size_mm
        heart, ventricle = find_heart(reference, size_mm), locate_ventricle(reference, size_mm)
        return cls(source, data, reference, heart, peak, ventricle)

    def measure(self, image: Tensor, profile: str) -> Measures:
        """All measures of an image series ``(frames, y, x)``, by the names that `Score` has for them."""
        measures = measure_image(
            image,
            self.reference,
            self.heart,
            n_coils=self.data.n_coils,
            profile=profile,
            kspace_peak=self.kspace_peak,
            is_cyclic=not self.data.meta.is_real_time,
        )
        return (
            measures if self.ventricle is None else measures | measure_ventricle(image, self.ventricle, self.data.meta)
        )


def score_slice_tasks(
    job: Job, request: EvaluationRequest, methods: Mapping[str, Reconstructor], opener: ScanOpener
) -> Iterator[Score | Failure]:
    """Score the tasks of a job, pattern by pattern, then method by method.

    Errors of the input are recorded for the task they concern, and the other tasks continue.
    """
    where, hint = f"{job.path}, slice {job.number}", "--workers 1, or a machine with more memory"
    try:
        source = opener.open(job.path)
        limits, refused = plan_methods(source, job, request, methods)
        yield from (job.failed(refused[name], pattern, name) for pattern, name in job.tasks if name in refused)
        if not limits:
            return
        job = replace(job, tasks={key: task for key, task in job.tasks.items() if key[1] in limits})
        with report_out_of_memory(where, hint):
            data = source.read_slice(job.number).to(request.device)
        truth = Truth.of_slice(source, data, str(job.path))
    except CineReconError as error:
        yield from (job.failed(error, *task) for task in job.tasks)
        return
    for pattern in dict.fromkeys(pattern for pattern, _ in job.tasks):
        requested = {name: method for name, method in methods.items() if (pattern, name) in job.tasks}
        try:
            with report_out_of_memory(where, hint):
                sampled = undersample(data, pattern, seed=pattern_seed(data, request.seed))
        except CineReconError as error:
            yield from (job.failed(error, pattern, name) for name in requested)
            continue
        images = InitialImages(sampled, request.device)
        for name, method in requested.items():
            try:
                with report_out_of_memory(where, hint), limited_to(limits[name]):
                    outcome: Score | Failure = _judge(job, request, truth, images, pattern, name, method)
            except StorageError:  # of the stored images; the method is not at fault
                raise
            except CineReconError as error:
                outcome = job.failed(error, pattern, name)
            yield outcome


def plan_methods(
    source: CineSource, job: Job, request: EvaluationRequest, methods: Mapping[str, Reconstructor]
) -> tuple[dict[str, Workspace], dict[str, CineReconError]]:
    """Limits of temporary arrays of each method, and the errors of methods that would exceed the limit of memory.

    Coils are not compressed for it: all methods are compared on the same data.
    """
    size = source.size_of(job.number)
    limits: dict[str, Workspace] = {}
    refused: dict[str, CineReconError] = {}
    for name, method in methods.items():
        where = f"{job.path}, slice {job.number}: {size}, {model_label(name)}"
        task = MemoryTask(
            size, size.n_frames, is_undersampled=True, is_compressible=False, device=request.device, where=where
        )
        try:
            limits[name] = make_plan(task, method, request.memory).workspace
        except CineReconError as error:
            refused[name] = error
    return limits, refused


def _judge(
    job: Job,
    request: EvaluationRequest,
    truth: Truth,
    images: InitialImages,
    pattern: str,
    name: str,
    method: Reconstructor,
) -> Score:
    data, sampled, label = truth.data, images.data, model_label(name)
    with torch.inference_mode():
        image, usage = images.reconstruct(method)
    image = finish_image(image, sampled)
    if not image.isfinite().all():
        where = f"{job.path}, slice {job.number}, {pattern}"
        raise DataError(f"{label} returned an image with NaN or infinite values", where=where)
    measures = truth.measure(image, request.profile)
    task = job.tasks[pattern, name]
    if request.output and job.stores_images and task:
        store_image(request.output, task, image, truth.reference, data.meta)
    return Score(
        scan=job.label,
        slice=data.meta.slice,
        n_coils=data.n_coils,
        sampling=pattern,
        method=label,
        seconds=usage.seconds,
        memory_mb=usage.memory_mb,
        n_parameters=method.n_parameters,
        n_threads=torch.get_num_threads(),
        device=request.device,
        marks="; ".join((*truth.source.marks, *method_warnings(name, method, sampled, pattern, truth.source))),
        subject=job.subject or job.label,
        acceleration=acceleration_of(sampled)[0],
        profile=request.profile,
        task=task,
        **measures,  # type: ignore[arg-type]
    )


def method_warnings(
    name: str, method: Reconstructor, data: CineData, pattern: str, source: CineSource
) -> Iterator[str]:
    """Warnings about a method: a scan that is in its training data or differs from them, or another preprocessing."""
    card = method.card
    overlap = card.training_overlap(source.checksums, source.subject) if card.cases or card.subjects else []
    yield from (f"{model_label(name)}: {text}" for text in (*overlap, *card_warnings(method.card, data, pattern)))
    if method.preprocessing:
        words = ", ".join(f"{key} {value}" for key, value in method.preprocessing.items())
        yield f"{model_label(name)}: trained on data prepared by {words}, compared on the same data as all others"


def measure_image(
    image: Tensor,
    reference: Tensor,
    heart: Heart | None,
    n_coils: int,
    profile: str,
    kspace_peak: float | None = None,
    *,
    is_cyclic: bool = True,
) -> Measures:
    """All measures of an image series ``(frames, y, x)``, by the names that `Score` has for them."""
    rules = find_profile(profile)
    measures: Measures = {"crop": rules.crop}
    measures |= measure(rules, image, reference, n_coils=n_coils, kspace_peak=kspace_peak)
    measures |= {f"frame_{name}": values for name, values in compare_frames(image, reference).items()}
    measures["hfen"] = hfen(image, reference) if min(image.shape[-2:]) >= HFEN_SIZE else math.nan
    scan = scan_correlation(image, reference)
    if scan is not None:
        measures["frc_rate"] = scan.rate()
        measures |= {} if heart is None else {"heart_frc_rate": scan.rate(heart.box)}
    if heart is not None:
        ours, truth, peak = heart.crop(image).abs(), heart.crop(reference).abs(), float(reference.abs().max())
        measures["heart_psnr"], measures["heart_nmse"] = psnr(ours, truth, peak), nmse(ours, truth)
        measures["heart_ssim"] = ssim(ours, truth, peak)
        measures["xt_ssim"] = xt_ssim(ours, truth, peak, is_cyclic=is_cyclic)
        measures["sharpness"] = temporal_sharpness(ours, truth, is_cyclic=is_cyclic)
        measures |= area_agreement(image, reference, heart)
    return measures


def measure_ventricle(image: Tensor, ventricle: Ventricle, meta: CineMeta) -> Measures:
    """Areas and border of the ventricle in ``(frames, y, x)``, by the names that `Score` has for them."""
    seed = ventricle.seed
    measures: Measures = {
        "border_sharpness": relative_sharpness(image, ventricle),
        "frame_area": areas_mm2(segment(image, seed), seed),
        "frame_true_area": areas_mm2(ventricle.masks, seed),
    }
    geometry = meta.geometry
    if geometry is not None:
        (y, x), (dy, dx) = image.shape[-2:], meta.pixel_size_mm
        offsets = (0.0, (seed.centre[0] - y // 2) * dy, (seed.centre[1] - x // 2) * dx)
        directions = (geometry.slice_dir, geometry.phase_dir, geometry.read_dir)
        measures["ventricle_mm"] = tuple(
            sum(p * d for p, d in zip(geometry.position_mm, direction, strict=True)) + offset
            for direction, offset in zip(directions, offsets, strict=True)
        )
    return measures
