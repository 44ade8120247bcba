"""Preparation: from any archive of scans to cases for training and evaluation."""

from cinerecon.preparation.config import SPLITS, Patch, PrepareConfig, parse_sizes, parse_split
from cinerecon.preparation.merge import merge_cases
from cinerecon.preparation.run import PrepareReport, prepare, split_of

__all__ = [
    "SPLITS",
    "Patch",
    "PrepareConfig",
    "PrepareReport",
    "merge_cases",
    "parse_sizes",
    "parse_split",
    "prepare",
    "split_of",
]
