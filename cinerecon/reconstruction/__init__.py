"""Reconstruction of scans and arrays into images."""

from cinerecon.reconstruction.batch import Batch, Outcome, is_batch, plan_batch, run_batch
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
    "plan_batch",
    "reconstruct",
    "reconstruct_scan",
    "reconstruct_slice",
    "run_batch",
]
