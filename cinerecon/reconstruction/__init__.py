"""Reconstruction of scans and arrays into images."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "batch": ("Batch", "is_batch", "plan_batch"),
    "batch_run": ("Outcome", "merge_batch", "run_batch"),
    "public": ("export", "reconstruct"),
    "request": ("ReconRequest",),
    "run": ("Observer", "ReconReport", "reconstruct_scan"),
    "slices": ("ReconstructedSlice", "reconstruct_slice"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the options of the command are imported quickly."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"cinerecon.reconstruction.{module}"), name)
    raise AttributeError(f"module 'cinerecon.reconstruction' has no attribute '{name}'")
