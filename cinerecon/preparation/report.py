"""The result of a preparation: its cases, those of earlier runs, and the table of rejected files."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cinerecon.archives.case_index import IndexRow, case_names
from cinerecon.errors import CineReconError
from cinerecon.io.csv_file import read_csv, rewrite_csv
from cinerecon.io.paths import absolute

REFUSED = "refused.csv"


@dataclass(frozen=True)
class Leftover:
    """Cases of earlier runs that this run has neither prepared nor confirmed.

    Attributes
    ----------
    stale
        Cases of slices or series that the present scan no longer contains.
    outdated
        Cases prepared from former contents of scans that are now rejected.
    others
        Cases of scans that were not given in this run.
    unlisted
        Case files that are not in any index.
    """

    stale: tuple[IndexRow, ...] = ()
    outdated: tuple[IndexRow, ...] = ()
    others: tuple[IndexRow, ...] = ()
    unlisted: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        rows: Iterable[IndexRow],
        confirmed: Collection[str],
        contents: Mapping[Path, Collection[str]],
        refused: Collection[Path],
    ) -> "Leftover":
        """Sort the rows of the index before a run.

        Parameters
        ----------
        rows
            Rows of the index.
        confirmed
            Cases that the run has prepared or found to be up to date.
        contents
            Hashes of the present contents of each given file, by absolute path; empty for a rejected file.
        refused
            Absolute paths of files of which a part was rejected.
        """
        stale, outdated, others = list[IndexRow](), list[IndexRow](), list[IndexRow]()
        for row in rows:
            path = absolute(row.source)
            if row.case in confirmed:
                continue
            if path not in contents:
                others.append(row)
            elif row.source_sha256 not in contents[path]:  # otherwise up to date under its former name
                (outdated if path in refused else stale).append(row)
        return cls(tuple(stale), tuple(outdated), tuple(others))

    def names_of_stale(self, confirmed: Iterable[str]) -> set[str]:
        """Names of the slices that are no longer prepared."""
        remaining = (*confirmed, *(row.case for row in (*self.outdated, *self.others)))
        return _names(row.case for row in self.stale) - _names(remaining)


def _names(cases: Iterable[str]) -> set[str]:
    return {name for case in cases for name in case_names(case)}


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
