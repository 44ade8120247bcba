"""The memory plan of a reconstruction, for the largest of its slices."""

from collections.abc import Sequence

from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.image import MAX_WINDOW_PIXELS
from cinerecon.io.export.movie import TILE_HEIGHT
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.memory_plan import MemoryPlan, Task, make_plan
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.trust import calibration_of

PICTURES, VOLUMES = (".png", ".gif", ".mp4"), (".nii", ".nii.gz", ".dcm")
"""Suffixes of the files for which all slices are drawn or stacked together."""
PICTURE_BYTES = 4 << 20
"""Memory of a slice in a picture with its panels [bytes]."""
N_WINDOW_ARRAYS = 3
"""Number of copies of the pixels from which a display window is determined."""
FLOAT = 4
"""Size of a real number in single precision [bytes]."""


def plan_memory(
    scan: CineSource, chosen: Sequence[int], method: Reconstructor, request: ReconRequest
) -> tuple[MemoryPlan, CineSource]:
    """Plan the reconstruction of the selected slices, and return the scan with the coils of the plan.

    Raises
    ------
    ConfigError
        If no plan meets the memory limit.
    """
    tasks = [task_of(scan, index, request) for index in chosen]
    largest = max(tasks, key=lambda task: task.size.n_frames * task.size.n_coils)
    plan = make_plan(largest, method, request.memory_limit)
    compressed = scan.with_virtual_coils(plan.n_coils) if plan.is_compressed else None
    return plan, compressed or scan


def task_of(scan: CineSource, index: int, request: ReconRequest) -> Task:
    """The memory task for the reconstruction of one slice.

    Raises
    ------
    ConfigError
        If the scan contains none of the requested frames.
    """
    size = scan.size_of(index)
    frames = request.chosen_frames(size.n_frames, f"slice {index}")
    return Task(
        size,
        frames.stop - frames.start,
        is_undersampled=bool(request.undersample),
        n_repeated_series=_n_repeated_series(request),
        written_bytes=written_bytes(request.outputs, len(request.chosen_slices(scan)), size),
        has_verdict=request.verdict and calibration_of(request.label) is not None,
        is_compressible=scan.with_virtual_coils(size.n_coils) is not None,
        device=request.device,
        where=f"{request.scan}, slice {index}: {size}, {request.label}",
    )


def _n_repeated_series(request: ReconRequest) -> int:
    """Number of image series for the noise map (with real replicas) or the uncertainty, and for their statistics."""
    of_noise = 2 * request.n_replicas if request.snr else 0
    return max(of_noise, 4 * request.n_variants if request.uncertainty else 0)


def written_bytes(outputs: Sequence[str], n_slices: int, size: SliceSize) -> int:
    """Memory required to write the images of all slices, using the default outputs if none are given [bytes].

    Slices are read one after the other. All slices are in memory for display windows, as a limited number of values,
    and for pictures, movies, NIfTI volumes and multi-frame DICOM files.
    """
    pixels = size.ky * size.kx
    total = N_WINDOW_ARRAYS * FLOAT * min(MAX_WINDOW_PIXELS, 8 * pixels * n_slices)
    if not outputs or any(output.lower().endswith(PICTURES) for output in outputs):
        total += n_slices * (PICTURE_BYTES + 2 * TILE_HEIGHT**2 * size.n_frames)
    if any(output.lower().endswith(VOLUMES) for output in outputs):
        total += n_slices * FLOAT * size.n_frames * pixels
    return total
