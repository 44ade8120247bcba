"""Failed tasks with their reasons, which are stored next to the scores and listed below the tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from cinerecon.errors import CineReconError, DataError
from cinerecon.evaluation.score import grouped
from cinerecon.evaluation.tables import Cell, Table
from cinerecon.io.csv_file import append_csv, read_csv, rewrite_csv

FAILURES = "failures.csv"


@dataclass(frozen=True)
class Failure:
    """A method that failed on a slice with a sampling pattern, and therefore has no score.

    Attributes
    ----------
    scan, slice
        Scan and slice; the slice is None if the file could not be opened.
    sampling, method
        Sampling pattern and method.
    what, where, hint
        As in `errors.CineReconError`; `where` begins with the file.
    """

    scan: str
    slice: int | None
    sampling: str
    method: str
    what: str
    where: str = ""
    hint: str = ""

    @property
    def case(self) -> str:
        """Scan and slice in words."""
        return self.scan if self.slice is None else f"{self.scan} slice {self.slice}"


COLUMNS = [field.name for field in fields(Failure)]


def location_of(error: CineReconError, path: Path, number: int | None) -> str:
    """The location of an error, beginning with the file."""
    if str(path) in error.where:
        return error.where
    here = str(path) if number is None else f"{path}, slice {number}"
    return f"{here}: {error.where}" if error.where else here


def append_failure(folder: Path, failure: Failure) -> None:
    """Append a line to ``failures.csv``."""
    append_csv(folder / FAILURES, COLUMNS, [astuple(failure)])


def read_failures(folder: Path) -> list[Failure]:
    """The failures of a folder; empty if there are none.

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    return read_csv(folder / FAILURES, _parse, "the failures")


def rewrite_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Replace ``failures.csv`` atomically; it is removed if there are no failures."""
    rewrite_csv(folder / FAILURES, COLUMNS, [astuple(failure) for failure in failures])


def _parse(texts: Mapping[str, str]) -> Failure:
    values = {name: texts[name] for name in COLUMNS if name != "slice"}
    return Failure(slice=int(texts["slice"]) if texts["slice"] else None, **values)


def failure_table(failures: Sequence[Failure], n_scores: int) -> Table:
    """A table of failures, one row for each slice and reason."""
    groups = grouped(failures, lambda failure: (failure.case, failure.what, failure.where, failure.hint))
    rows = [
        tuple(Cell(text) for text in (case, _list(f.sampling for f in group), _list(f.method for f in group), *why))
        for (case, *why), group in groups.items()
    ]
    caption = f"failed: {len(failures)} of {len(failures) + n_scores} reconstructions"
    note = "failed reconstructions are not included in the means above, and are tried again in the next run"
    return Table(caption, ("scan", "sampling", "method", "why", "where", "try"), tuple(rows), (note,), is_text=True)


def raise_first(failures: Sequence[Failure]) -> None:
    """Raise the first failure as an error, with the number of different reasons.

    Raises
    ------
    DataError
        Always.
    """
    first = failures[0]
    n_reasons = len({(failure.what, failure.where) for failure in failures})
    what = first.what if n_reasons == 1 else f"{first.what} (the first of {n_reasons} reasons)"
    raise DataError(what, where=first.where, hint=first.hint)


def _list(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))
