"""From the readouts of a scanner, or another file of k-space, to `CineData`."""

from cinerecon.acquisition.case import SETTINGS
from cinerecon.acquisition.coil_maps import finish_slice, scale_maps
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import (
    file_checksums,
    find_cines,
    intake,
    is_cine_name,
    open_cine,
    require_cine,
    walk_visible,
)
from cinerecon.acquisition.plan import ScanPlan
from cinerecon.acquisition.reference import attach_reference, combine_truth
from cinerecon.acquisition.scan import Scan, open_scan
from cinerecon.acquisition.source import CineSource, CineSummary, TimedSlice, summarise

__all__ = [
    "SETTINGS",
    "AcquisitionConfig",
    "CineSource",
    "CineSummary",
    "Scan",
    "ScanPlan",
    "TimedSlice",
    "attach_reference",
    "combine_truth",
    "file_checksums",
    "find_cines",
    "finish_slice",
    "intake",
    "is_cine_name",
    "open_cine",
    "open_scan",
    "require_cine",
    "scale_maps",
    "summarise",
    "walk_visible",
]
