"""From the readouts of a scanner, or another file of k-space, to `CineData`."""

from typing import TYPE_CHECKING

from cinerecon.lazy import lazy_names

if TYPE_CHECKING:
    from cinerecon.acquisition.case import SETTINGS
    from cinerecon.acquisition.coil_maps import finish_slice, scale_maps
    from cinerecon.acquisition.config import AcquisitionConfig
    from cinerecon.acquisition.inspection import ScanPlan
    from cinerecon.acquisition.kinds import require_cine
    from cinerecon.acquisition.open import (
        file_checksums,
        find_cines,
        intake,
        is_cine_name,
        open_cine,
        walk_visible,
    )
    from cinerecon.acquisition.reference import attach_reference, combine_truth
    from cinerecon.acquisition.scan import Scan, open_scan
    from cinerecon.acquisition.source import CineSource, CineSummary, SliceSize, TimedSlice, summarise

__all__ = [
    "SETTINGS",
    "AcquisitionConfig",
    "CineSource",
    "CineSummary",
    "Scan",
    "ScanPlan",
    "SliceSize",
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AcquisitionConfig": "cinerecon.acquisition.config",
            "CineSource": "cinerecon.acquisition.source",
            "CineSummary": "cinerecon.acquisition.source",
            "SETTINGS": "cinerecon.acquisition.case",
            "Scan": "cinerecon.acquisition.scan",
            "ScanPlan": "cinerecon.acquisition.inspection",
            "SliceSize": "cinerecon.acquisition.source",
            "TimedSlice": "cinerecon.acquisition.source",
            "attach_reference": "cinerecon.acquisition.reference",
            "combine_truth": "cinerecon.acquisition.reference",
            "file_checksums": "cinerecon.acquisition.open",
            "find_cines": "cinerecon.acquisition.open",
            "finish_slice": "cinerecon.acquisition.coil_maps",
            "intake": "cinerecon.acquisition.open",
            "is_cine_name": "cinerecon.acquisition.open",
            "open_cine": "cinerecon.acquisition.open",
            "open_scan": "cinerecon.acquisition.scan",
            "require_cine": "cinerecon.acquisition.kinds",
            "scale_maps": "cinerecon.acquisition.coil_maps",
            "summarise": "cinerecon.acquisition.source",
            "walk_visible": "cinerecon.acquisition.open",
        },
    )
