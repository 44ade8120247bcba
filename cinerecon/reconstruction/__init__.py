"""Reconstruction of scans and arrays into images."""

from cinerecon.reconstruction.public import export, reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, ReconReport, reconstruct_scan
from cinerecon.reconstruction.slices import ReconstructedSlice, reconstruct_slice

__all__ = [
    "Observer",
    "ReconReport",
    "ReconRequest",
    "ReconstructedSlice",
    "export",
    "reconstruct",
    "reconstruct_scan",
    "reconstruct_slice",
]
