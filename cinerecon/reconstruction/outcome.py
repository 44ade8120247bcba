"""The outcomes of a batch, their record, and the joined record of its shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cinerecon.errors import CineReconError, FileError
from cinerecon.io.journal import Journal
from cinerecon.io.paths import located, relative
from cinerecon.io.shards import Shard, in_list_order, read_finished_shards
from cinerecon.methods.model_file import model_label

COMMAND = "recon"
COMPARISON = "comparison"
"""In the record, in place of a method, for a movie that shows several methods side by side."""
RECORD = "recon.jsonl"
"""File in the output folder that lists the results, one per line."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one reconstruction of a batch: figures of it, or an error.

    Attributes
    ----------
    name, method
        Scan and method.
    figures
        Numbers of slices and frames, mean acceleration, residual and quality, seconds; empty after an error.
    written
        The files.
    warnings
        Each warning once.
    error
        Why it failed.
    is_earlier
        Whether an earlier run finished it.
    verdict
        The worst verdict of its slices; empty if there is none.
    """

    name: str
    method: str
    figures: Mapping[str, float]
    written: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: CineReconError | None = None
    is_earlier: bool = False
    verdict: str = ""

    def as_entry(self, scan: Path, checksum: str, folder: Path) -> dict[str, Any]:
        """The outcome in the record of an output folder, to which paths are relative."""
        error = None if self.error is None else [self.error.what, self.error.where, self.error.hint]
        return {
            "scan": relative(scan, folder),
            "name": self.name,
            "method": self.method,
            "checksum": checksum,
            "error": error,
            "written": [relative(path, folder) for path in self.written],
            "warnings": self.warnings,
            "figures": dict(self.figures),
            "verdict": self.verdict,
        }

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any], folder: Path, *, is_earlier: bool) -> "Outcome":
        """The outcome that an entry of the record of a folder describes."""
        error = None
        if entry["error"] is not None:
            what, where, hint = entry["error"]
            error = CineReconError(what, where=where, hint=hint)
        lists = tuple(str(located(path, folder)) for path in entry["written"]), tuple(entry["warnings"])
        return cls(entry["name"], entry["method"], entry["figures"], *lists, error, is_earlier, entry["verdict"])


def successful(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """An entry of the record that describes images, or the one before it that does; None if there is none."""
    return entry.get("before") if entry is not None and entry["error"] is not None else entry


def merge_batch(folder: Path) -> list[Outcome]:
    """Join the records of all shards of a batch into that of the folder, in the order of the list of scans.

    It may be repeated: the result is the same. Entries of other scans and methods in the record are kept.

    Raises
    ------
    FileError, ConfigError
        If the shards are not complete, finished and of one run, see `io.shards.read_finished_shards`.
    """
    shards = read_finished_shards(folder, COMMAND)
    journals = [Journal(Shard(shard.number, shard.n).folder(folder, COMMAND) / RECORD) for shard in shards]
    labels = [model_label(model) for model in shards[0].identity["models"]]
    merged = Journal(folder / RECORD)
    entries: dict[str, Any] = {}
    for position, name in enumerate(in_list_order(shards)):
        for label in labels:
            key, shard = f"{name}.{label}", shards[position % len(shards)]
            entry = journals[position % len(shards)].get(key)
            if entry is None:
                what = f"{shard.name} has no result of {label} on {name}"
                hint = f"cinerecon {COMMAND} ... --resume --shard {shard.number}/{shard.n}"
                raise FileError(what, where=str(folder), hint=hint)
            if entry["error"] is not None and entry["before"] is None:
                entry["before"] = successful(merged.get(key))
            entries[key] = entry
    outcomes = [Outcome.of_entry(entry, folder, is_earlier=True) for entry in entries.values()]
    entries |= _comparisons(journals)
    merged.replace({key: merged.get(key) for key in merged if key not in entries} | entries)
    return outcomes


def _comparisons(journals: Sequence[Journal]) -> dict[str, Any]:
    """The entries of movies in which methods are compared."""
    entries = {key: journal.get(key) for journal in journals for key in journal}
    return {key: entry for key, entry in entries.items() if entry["method"] == COMPARISON}
