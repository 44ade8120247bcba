"""Intake: the one road from a file to `CineData`."""

from cinerecon.workflows.intake.config import IntakeConfig
from cinerecon.workflows.intake.content import contents_of
from cinerecon.workflows.intake.door import intake, open_cine, require_cine
from cinerecon.workflows.intake.find import find_cines, is_cine_name, walk_visible
from cinerecon.workflows.intake.finish import finish_slice
from cinerecon.workflows.intake.plan import ScanPlan
from cinerecon.workflows.intake.scan import Scan, open_scan
from cinerecon.workflows.intake.source import CineSource
from cinerecon.workflows.intake.stored import SETTINGS
from cinerecon.workflows.intake.summary import CineSummary, summarise

__all__ = [
    "SETTINGS",
    "CineSource",
    "CineSummary",
    "IntakeConfig",
    "Scan",
    "ScanPlan",
    "contents_of",
    "find_cines",
    "finish_slice",
    "intake",
    "is_cine_name",
    "open_cine",
    "open_scan",
    "require_cine",
    "summarise",
    "walk_visible",
]
