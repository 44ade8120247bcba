"""The plan of memory of a reconstruction, for the largest of its slices."""

from collections.abc import Sequence

from cinerecon.acquisition import CineSource
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.memory_plan import MemoryPlan, Task, make_plan
from cinerecon.reconstruction.request import ReconRequest


def plan_memory(
    request: ReconRequest, method: Reconstructor, scan: CineSource, chosen: Sequence[int]
) -> tuple[MemoryPlan, CineSource]:
    """Plan the reconstruction of the chosen slices, and return the scan with the coils of the plan.

    Raises
    ------
    ConfigError
        If no plan keeps the limit.
    """
    tasks = [task_of(request, scan, index) for index in chosen]
    largest = max(tasks, key=lambda task: task.size.n_frames * task.size.n_coils)
    plan = make_plan(largest, method, request.memory_limit)
    compressed = scan.with_virtual_coils(plan.n_coils) if plan.is_compressed else None
    return plan, compressed or scan


def task_of(request: ReconRequest, scan: CineSource, index: int) -> Task:
    """The reconstruction of one slice.

    Raises
    ------
    ConfigError
        If the scan has none of the requested frames.
    """
    size = scan.size_of(index)
    frames = request.chosen_frames(size.n_frames, f"slice {index}")
    return Task(
        size,
        frames.stop - frames.start,
        is_undersampled=bool(request.undersample),
        n_replicas=request.n_replicas if request.snr else 0,
        is_compressible=scan.with_virtual_coils(size.n_coils) is not None,
        device=request.device,
        where=f"{request.scan}, slice {index}: {size}, {request.label}",
    )
