"""The result of a preparation: its cases, and the table of rejected files."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cinerecon.errors import CineReconError
from cinerecon.io.case_index import IndexRow
from cinerecon.io.csv_file import read_csv, rewrite_csv
from cinerecon.preparation.leftover import Leftover

REFUSED = "refused.csv"


@dataclass(frozen=True)
class Rejection:
    """A source or a slice that could not be prepared, and the reason."""

    path: Path
    what: str
    where: str
    hint: str

    @classmethod
    def of(cls, path: Path, error: CineReconError) -> "Rejection":
        """The rejection that corresponds to an error."""
        return cls(path, error.what, error.where, error.hint)


@dataclass(frozen=True)
class PrepareReport:
    """Result of a preparation.

    Attributes
    ----------
    rows
        The cases of this run, including existing ones.
    n_new
        Number of cases that were created in this run.
    refused
        Files and slices that could not be prepared, with the reason.
    passed
        Number of excluded files in folders, by reason.
    n_unknown_subjects
        Number of files that are treated as separate subjects because the subject is unknown.
    warnings
        Warnings, each with the number of slices that it concerns.
    index
        The index of all cases in the folder.
    leftover
        Cases of earlier runs that this run has neither prepared nor confirmed.
    """

    rows: tuple[IndexRow, ...]
    n_new: int
    refused: tuple[Rejection, ...]
    passed: dict[str, int]
    n_unknown_subjects: int
    warnings: dict[str, int]
    index: Path
    leftover: Leftover = field(default_factory=Leftover)

    def count(self, split: str) -> tuple[int, int, int]:
        """Numbers of subjects, slices and cases of a split."""
        rows = [row for row in self.rows if row.split == split]
        return len({r.subject for r in rows}), len({(r.source_sha256, r.slice) for r in rows}), len(rows)


def write_refused(folder: Path, refused: Iterable[Rejection]) -> None:
    """Write the list of rejected files; it is removed if there are none."""
    rows = [(refusal.path, refusal.what, refusal.where, refusal.hint) for refusal in refused]
    rewrite_csv(folder / REFUSED, ["path", "what", "where", "hint"], rows)


def read_refused(folder: Path) -> list[Rejection]:
    """The rejected files of a run.

    Raises
    ------
    FileError
        If the list cannot be read.
    """
    return read_csv(
        folder / REFUSED,
        lambda row: Rejection(Path(row["path"]), row["what"], row["where"], row["hint"]),
        "the rejected files",
    )
