"""Reconstruction of scans and arrays into images."""

from typing import TYPE_CHECKING

from cinerecon.lazy import lazy_names

if TYPE_CHECKING:
    from cinerecon.reconstruction.batch import Batch, is_batch, plan_batch
    from cinerecon.reconstruction.batch_run import Outcome, merge_batch, run_batch
    from cinerecon.reconstruction.public import export, reconstruct
    from cinerecon.reconstruction.request import ReconRequest
    from cinerecon.reconstruction.run import Observer, ReconReport, reconstruct_scan
    from cinerecon.reconstruction.slices import ReconstructedSlice, reconstruct_slice

__all__ = [
    "Batch",
    "Observer",
    "Outcome",
    "ReconReport",
    "ReconRequest",
    "ReconstructedSlice",
    "export",
    "is_batch",
    "merge_batch",
    "plan_batch",
    "reconstruct",
    "reconstruct_scan",
    "reconstruct_slice",
    "run_batch",
]

if not TYPE_CHECKING:
    _MODULES = {
        "batch": ("Batch", "is_batch", "plan_batch"),
        "batch_run": ("Outcome", "merge_batch", "run_batch"),
        "public": ("export", "reconstruct"),
        "request": ("ReconRequest",),
        "run": ("Observer", "ReconReport", "reconstruct_scan"),
        "slices": ("ReconstructedSlice", "reconstruct_slice"),
    }
    __getattr__, __dir__ = lazy_names(
        __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
    )
