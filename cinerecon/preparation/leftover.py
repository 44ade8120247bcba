"""Existing cases in the output folder that a run does not prepare again, by relation to the present scans."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cinerecon.io.case_index import IndexRow, case_names
from cinerecon.io.paths import absolute


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
