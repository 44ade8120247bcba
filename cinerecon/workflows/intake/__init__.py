"""Intake: the one road from a raw file to `CineData`."""

from cinerecon.workflows.intake.config import IntakeConfig
from cinerecon.workflows.intake.plan import ScanPlan
from cinerecon.workflows.intake.scan import Scan, block_of_lines, intake, open_scan

__all__ = ["IntakeConfig", "Scan", "ScanPlan", "block_of_lines", "intake", "open_scan"]
