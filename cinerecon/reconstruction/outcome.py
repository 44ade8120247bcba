"""The outcome of a reconstruction, and its representation in the record."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinerecon.errors import CineReconError
from cinerecon.io.paths import located, relative

COMMAND = "recon"
COMPARISON = "comparison"
"""Entry in the record that replaces the method for a movie showing several methods side by side."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one reconstruction of a batch: its figures, or an error.

    Attributes
    ----------
    name, method
        Names of the scan and the method.
    figures
        Numbers of slices and frames, mean acceleration, residual and quality, and duration [s]; empty after an error.
    written
        The written files.
    warnings
        Warnings without duplicates.
    error
        Reason for the failure; empty on success.
    is_earlier
        Whether an earlier run completed the reconstruction.
    verdict
        The worst verdict of the slices; empty if there is none.
    """

    name: str
    method: str
    figures: Mapping[str, float]
    written: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: CineReconError | None = None
    is_earlier: bool = False
    verdict: str = ""

    def as_entry(self, scan: Path, checksum: str, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The outcome as an entry in the record of an output folder, with the settings; paths are relative to it."""
        error = None if self.error is None else [self.error.what, self.error.where, self.error.hint]
        return {
            "scan": relative(scan, folder),
            "name": self.name,
            "method": self.method,
            "checksum": checksum,
            "settings": settings,
            "error": error,
            "written": [relative(path, folder) for path in self.written],
            "warnings": self.warnings,
            "figures": dict(self.figures),
            "verdict": self.verdict,
        }

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any], folder: Path, *, is_earlier: bool) -> "Outcome":
        """The outcome that an entry in the record of a folder describes."""
        error = None
        if entry["error"] is not None:
            what, where, hint = entry["error"]
            error = CineReconError(what, where=where, hint=hint)
        lists = tuple(str(located(path, folder)) for path in entry["written"]), tuple(entry["warnings"])
        return cls(entry["name"], entry["method"], entry["figures"], *lists, error, is_earlier, entry["verdict"])
