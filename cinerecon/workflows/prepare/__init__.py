"""Preparation: from any archive of scans to cases for training and evaluation."""

from cinerecon.workflows.prepare.config import Patch, PrepareConfig, parse_numbers, parse_sizes
from cinerecon.workflows.prepare.run import SPLITS, PrepareReport, prepare, split_of

__all__ = ["SPLITS", "Patch", "PrepareConfig", "PrepareReport", "parse_numbers", "parse_sizes", "prepare", "split_of"]
