"""Intake: the one road from a file to `CineData`."""

from cinerecon.workflows.intake.assemble import cropped, resampled
from cinerecon.workflows.intake.config import IntakeConfig
from cinerecon.workflows.intake.content import contents_of
from cinerecon.workflows.intake.door import intake, open_cine, require_cine
from cinerecon.workflows.intake.edges import lines_with_signal
from cinerecon.workflows.intake.find import find_cines, is_cine_name, walk_visible
from cinerecon.workflows.intake.finish import block_of_lines, finish_slice, mix_maps
from cinerecon.workflows.intake.plan import ScanPlan
from cinerecon.workflows.intake.scan import Scan, open_scan
from cinerecon.workflows.intake.source import CineSource
from cinerecon.workflows.intake.stored import SETTINGS

__all__ = [
    "SETTINGS",
    "CineSource",
    "IntakeConfig",
    "Scan",
    "ScanPlan",
    "block_of_lines",
    "contents_of",
    "cropped",
    "find_cines",
    "finish_slice",
    "intake",
    "is_cine_name",
    "lines_with_signal",
    "mix_maps",
    "open_cine",
    "open_scan",
    "require_cine",
    "resampled",
    "walk_visible",
]
