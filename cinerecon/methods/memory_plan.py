"""The memory of a reconstruction: its prediction from the sizes of the data, and a plan that stays within a limit.

Memory use is highest in one of three stages: while a slice is read and its coil maps are estimated, while the method
runs, or while the image is compared with a reference and the images of all slices are written. It is predicted when the
scan has been opened, in addition to the memory that the process already uses. During the first two stages, k-space is
in memory once, together with several image series, whose number depends on the method (`Reconstructor.n_series`).
Resident memory also grows when functions of the numerical libraries are used for the first time.

The plan first takes measures that do not change the images: freed memory is returned to the system immediately, and
fewer coils or frames are processed together. Only if this is not sufficient are the coils compressed, to as many
virtual coils as the limit allows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cinerecon.acquisition.source import SliceSize
from cinerecon.errors import CineReconError, ConfigError
from cinerecon.machine import peak_memory_mb, process_memory_mb
from cinerecon.memory import (
    Workspace,
    describe_out_of_memory,
    is_out_of_memory,
    requested_size,
    return_freed_memory,
    show_size,
)
from cinerecon.methods.base import SAMPLES_AT_ONCE, Reconstructor
from cinerecon.metrics.measures import PIXELS_AT_ONCE

COMPLEX = 8
"""Bytes of a complex number in single precision."""
RETAINED_FACTOR = 1.2
"""Factor on the memory of a method if the allocator keeps freed memory for later arrays."""
N_MAPS = 3
"""Sets of coil maps in memory: those of the data, and those scaled for an operator and for its adjoint."""
MAPS_BYTES = 56 << 20
"""Memory of the matrices that are decomposed together in the estimation of coil maps [bytes]."""
SPLINE_SIZE = 128
"""Largest matrix size of the coil images to which splines are fitted."""
N_SPLINE_ARRAYS = 13
"""Memory of the fit of splines, which uses double precision, in units of the coil images in single precision."""
N_REFERENCE_SERIES = 5
"""Image series in memory while the reference of a slice is read and scaled."""
N_COMPARED_SERIES = 7
"""Image series in memory while an image is compared with its reference."""
SSIM_BYTES = 22 * 8 * PIXELS_AT_ONCE
"""Memory of SSIM, which is computed for a few frames at a time [bytes]."""
N_BLOCKS = 5
"""Copies of a block of readouts in memory during its transform."""
PROCESS_BYTES = 300 << 20
"""Memory of the process before it reads data, if this cannot be measured [bytes]."""
LIBRARY_BYTES = 42 << 20
"""Code and buffers of the numerical libraries, which are loaded at the first use of each function [bytes]."""
SPARE_BYTES = 24 << 20
"""Memory for small arrays, and memory that the allocator does not return [bytes]."""
VERDICT_SERIES = 40
"""Image series in memory for the verdict: k-t SLR, and k-space of four virtual coils without held-out samples."""
MIN_VIRTUAL_COILS = 4
"""Smallest number of virtual coils of a plan; with fewer coils, image quality would decrease."""


@dataclass(frozen=True)
class Task:
    """The reconstruction of a slice, for the prediction of its memory.

    Attributes
    ----------
    size
        Sizes of the slice.
    n_frames
        Number of frames that are reconstructed.
    is_undersampled
        Whether k-space is undersampled retrospectively, which requires memory for both.
    n_repeated_series
        Number of image series in memory during further reconstructions (pseudo-replicas, variants of the data); 0
        without these.
    has_verdict
        Whether the verdict is computed, from a short reconstruction of a part of the samples.
    written_bytes
        Memory for writing the images of all slices at the end.
    is_compressible
        Whether the coils may be compressed.
    device
        Device of the method.
    where
        The scan, for messages.
    """

    size: SliceSize
    n_frames: int
    is_undersampled: bool = False
    n_repeated_series: int = 0
    has_verdict: bool = False
    written_bytes: int = 0
    is_compressible: bool = True
    device: str = "cpu"
    where: str = ""


@dataclass(frozen=True)
class MemoryPlan:
    """Measures with which a reconstruction stays within a memory limit.

    Attributes
    ----------
    n_coils
        Number of coils of the reconstruction, either measured or virtual.
    workspace
        Limits of temporary arrays.
    keeps_freed_memory
        Whether the allocator may keep freed memory, which is faster.
    reading_bytes, reconstruction_bytes, finishing_bytes
        Predicted peak memory of the process, or of the GPU, in each stage [bytes].
    limit
        The limit [bytes]; None without a limit.
    is_compressed
        Whether coils are compressed because of the limit.
    start_bytes
        Memory of the process when the peaks were predicted, before it reads data [bytes].
    """

    n_coils: int
    workspace: Workspace = field(default_factory=Workspace)
    keeps_freed_memory: bool = True
    reading_bytes: int = 0
    reconstruction_bytes: int = 0
    finishing_bytes: int = 0
    limit: int | None = None
    is_compressed: bool = False
    start_bytes: int = field(default=0, compare=False)

    @property
    def predicted(self) -> int:
        """Predicted peak of all stages [bytes]."""
        return max(self.reading_bytes, self.reconstruction_bytes, self.finishing_bytes)

    @property
    def fits(self) -> bool:
        """Whether the predicted peak is within the limit."""
        return self.limit is None or self.predicted <= self.limit

    def __str__(self) -> str:
        """The plan in words."""
        coils = f"compressed to {self.n_coils} coils" if self.is_compressed else f"all {self.n_coils} coils"
        limit = "" if self.limit is None else f" of {show_size(self.limit)}"
        texts = [f"{show_size(self.predicted)} predicted{limit}", coils]
        if self.workspace.coils_at_once is not None:
            texts.append(f"{self.workspace.coils_at_once} coils at a time")
        if self.workspace.frames_at_once is not None:
            texts.append(f"{self.workspace.frames_at_once} frames at a time")
        if not self.keeps_freed_memory:
            texts.append("freed memory is returned immediately")
        return ", ".join(texts)


def predict(task: Task, method: Reconstructor, plan: MemoryPlan) -> MemoryPlan:
    """The plan with the predicted peaks of all stages; if `start_bytes` is 0, it is measured for this process."""
    on_gpu = task.device.startswith("cuda")
    plan = plan if plan.start_bytes else replace(plan, start_bytes=_process_bytes())
    start = plan.start_bytes + LIBRARY_BYTES + SPARE_BYTES
    reconstruction = _reconstruction_bytes(task, method, plan, on_gpu=on_gpu)
    if on_gpu:
        return replace(plan, reconstruction_bytes=SPARE_BYTES + reconstruction)
    return replace(
        plan,
        reading_bytes=start + _reading_bytes(task, plan),
        reconstruction_bytes=start + reconstruction,
        finishing_bytes=start + max(_comparison_bytes(task), task.written_bytes),
    )


def make_plan(task: Task, method: Reconstructor, limit: int | None) -> MemoryPlan:
    """Choose the first plan that stays within the limit; without a limit, the fastest plan.

    Raises
    ------
    ConfigError
        If there is none; the message contains the smallest sufficient limit.
    """
    plan = MemoryPlan(task.size.n_used_coils)
    for choice in _plans(task, method):
        plan = predict(task, method, replace(choice, limit=limit))
        if plan.fits:
            return plan
    what = f"the reconstruction needs at least {show_size(plan.predicted)}, the limit is {show_size(limit or 0)}"
    fewer = (n for n in _halves(task.n_frames) if predict(replace(task, n_frames=n), method, plan).fits)
    n_frames = next(fewer, None)
    hint = _as_option(plan) + ("" if n_frames is None else f", or fewer frames: --frames 0:{n_frames}")
    raise ConfigError(what, where=task.where, hint=hint)


def require_memory_to_read(size: SliceSize, limit: int | None, where: str) -> None:
    """Check that a slice can be read within a limit, without a reconstruction.

    Raises
    ------
    ConfigError
        If it cannot; the message contains the required memory.
    """
    needed = _process_bytes() + LIBRARY_BYTES + SPARE_BYTES
    needed += _reading_bytes(Task(size, size.n_frames), MemoryPlan(size.n_used_coils))
    if limit is not None and needed > limit:
        what = f"reading needs {show_size(needed)}, the limit of a process is {show_size(limit)}"
        raise ConfigError(what, where=f"{where}: {size}", hint=f"--workers 1 --memory {_without_space(needed)}")


def out_of_memory(error: Exception, task: Task, method: Reconstructor, failed: MemoryPlan) -> CineReconError | None:
    """The error to report if memory was exhausted; None for other errors.

    The memory that the process has used is available, and the array that could not be allocated is not. The hint is
    therefore the first plan, and thus the one with the largest memory, that stays within the memory used; if there is
    none, within the sum of both. Plans are predicted for a process that starts again, not for this process, which still
    holds its data.
    """
    if not is_out_of_memory(error):
        return None
    failed = failed if failed.predicted else predict(task, method, failed)
    plans = [predict(task, method, replace(plan, start_bytes=failed.start_bytes)) for plan in _plans(task, method)]
    used = _peak_bytes(task.device)
    requested = requested_size(error) or math.inf
    fitting = (
        next((plan for plan in plans if plan.predicted <= size and plan.predicted < failed.predicted), None)
        for size in (used, used + requested)
    )
    plan = next(filter(None, fitting), None)
    if plan is not None:
        hint = f"{_as_option(plan)} ({plan})"
    else:
        least = min(plans, key=lambda plan: plan.predicted)
        hint = f"a machine with {show_size(failed.predicted)} of free memory"
        if least.predicted < failed.predicted:
            hint += f", or {show_size(least.predicted)} with {_as_option(least)}"
    return CineReconError(describe_out_of_memory(error), where=task.where, hint=hint)


def _as_option(plan: MemoryPlan) -> str:
    return f"--memory {_without_space(plan.predicted)}"


def _without_space(n_bytes: int) -> str:
    return show_size(n_bytes).replace(" ", "")


def _peak_bytes(device: str) -> float:
    peak = peak_memory_mb(device) * 2**20
    return math.inf if math.isnan(peak) else peak


def _plans(task: Task, method: Reconstructor) -> Iterator[MemoryPlan]:
    """Plans in order of preference, each with less memory than the previous one."""
    n_coils = task.size.n_used_coils
    plan = MemoryPlan(n_coils)
    yield plan
    plan = replace(plan, keeps_freed_memory=False)
    yield plan
    if task.device.startswith("cuda"):
        for coils_at_once in _halves(n_coils):
            plan = replace(plan, workspace=replace(plan.workspace, coils_at_once=coils_at_once))
            yield plan
    if method.frames_are_separate:
        for frames_at_once in _halves(task.n_frames):
            plan = replace(plan, workspace=replace(plan.workspace, frames_at_once=frames_at_once))
            yield plan
    if task.is_compressible:
        for n_virtual in range(n_coils - 1, MIN_VIRTUAL_COILS - 1, -1):
            yield replace(plan, n_coils=n_virtual, is_compressed=True)


def _halves(n: int) -> Iterator[int]:
    """The numbers n / 2, n / 4, ... 1, rounded up."""
    while n > 1:
        n = math.ceil(n / 2)
        yield n


def _process_bytes() -> int:
    """Memory that the process uses, without freed memory that its allocator keeps [bytes]."""
    return_freed_memory()
    held = process_memory_mb()
    return PROCESS_BYTES if math.isnan(held) else round(held * 2**20)


def _reading_bytes(task: Task, plan: MemoryPlan) -> int:
    """Memory for reading a slice, in addition to that of the process [bytes]."""
    size = task.size
    pixels = size.ky * size.kx
    kspace = COMPLEX * size.n_frames * pixels * plan.n_coils
    n_copies = size.n_copies + (1 if task.is_undersampled else 0)
    whole = 0
    if plan.n_coils < size.n_coils and not size.is_compressed_in_reading:
        whole = COMPLEX * size.n_frames * pixels * size.n_coils
    series = COMPLEX * size.n_frames * pixels
    temporary = N_BLOCKS * size.block_bytes + max(_estimation_bytes(size, plan.n_coils), N_REFERENCE_SERIES * series)
    return round(max(kspace * (1 + n_copies), whole * (1 + size.n_copies) + kspace) + series + temporary)


def _estimation_bytes(size: SliceSize, n_coils: int) -> int:
    """Memory of the time average of k-space, and of the estimation of coil maps from it [bytes]."""
    if n_coils == 1:
        return 0
    maps = COMPLEX * size.ky * size.kx * n_coils
    coil_images = COMPLEX * n_coils * min(size.ky, SPLINE_SIZE) * min(size.kx, SPLINE_SIZE)
    return maps + 2 * coil_images + max(MAPS_BYTES, N_SPLINE_ARRAYS * coil_images, 5 * maps)


def _comparison_bytes(task: Task) -> int:
    """Memory while an image is compared with its reference, when k-space is no longer in memory [bytes]."""
    series = COMPLEX * task.n_frames * task.size.ky * task.size.kx
    return N_COMPARED_SERIES * series + min(SSIM_BYTES, 22 * series)


def _reconstruction_bytes(task: Task, method: Reconstructor, plan: MemoryPlan, *, on_gpu: bool) -> int:
    """Memory while the method runs and the verdict is computed, in addition to that of the process [bytes]."""
    size = task.size
    pixels = size.ky * size.kx
    n_copies = method.n_kspace_copies + (4 if task.n_repeated_series else 0)
    kspace = COMPLEX * size.n_frames * pixels * plan.n_coils * (1 + n_copies)
    maps = N_MAPS * COMPLEX * pixels * plan.n_coils
    n_together = task.n_frames
    if method.frames_are_separate:
        n_together = min(n_together, plan.workspace.frames_at_once or n_together)
    n_series = method.n_series * n_together + 2 * (task.n_frames - n_together)
    if task.has_verdict:
        n_series = max(n_series, VERDICT_SERIES * task.n_frames)
    series = COMPLEX * pixels * n_series * (RETAINED_FACTOR if plan.keeps_freed_memory and not on_gpu else 1)
    images = COMPLEX * pixels * task.n_frames * (2 + task.n_repeated_series)
    return round(kspace + maps + series + images + _operator_bytes(task, plan, n_together, on_gpu=on_gpu))


def _operator_bytes(task: Task, plan: MemoryPlan, n_frames: int, *, on_gpu: bool) -> int:
    """Memory of the coil images that an operator transforms together [bytes]."""
    samples = n_frames * task.size.ky * task.size.kx
    n_coils = plan.workspace.coils_at_once or (plan.n_coils if on_gpu else max(1, SAMPLES_AT_ONCE // samples))
    return 3 * COMPLEX * samples * min(n_coils, plan.n_coils)
