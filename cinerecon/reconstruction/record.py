"""Outcomes of reconstructions, their record, in which ``--resume`` finds them, and the merged record of shards.

The record is a file in the output folder with a line for each scan and method. Its paths are relative to the output
folder, so that it remains valid if the command is run from another directory, or if scans and images are moved
together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cinerecon.archives.journal import Journal
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, in_list_order, read_finished_shards
from cinerecon.errors import CineReconError, FileError
from cinerecon.io.export import Target
from cinerecon.io.paths import absolute, absolute_paths, located, relative
from cinerecon.methods.model_file import model_label
from cinerecon.verdict import worst_status

if TYPE_CHECKING:
    from cinerecon.reconstruction.identity import Identity
    from cinerecon.reconstruction.request import ReconRequest
    from cinerecon.reconstruction.slices import ReconstructedSlice

COMMAND = "recon"
COMPARISON = "comparison"
"""Entry in the record that replaces the method for a movie showing several methods side by side."""
RECORD = "recon.jsonl"
"""File in the output folder that lists the results, one per line."""
ENTRY = ("scan", "name", "method", "checksum", "error", "written", "warnings", "figures", "verdict")
"""Keys of the entries of the record."""
MOST_DIFFERENCES = 3
"""Largest number of different settings that are named in a message."""


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
    def of_entry(cls, entry: Mapping[str, Any], folder: Path) -> "Outcome":
        """The outcome of an earlier run that an entry in the record of a folder describes."""
        error = None
        if entry["error"] is not None:
            what, where, hint = entry["error"]
            error = CineReconError(what, where=where, hint=hint)
        lists = tuple(str(located(path, folder)) for path in entry["written"]), tuple(entry["warnings"])
        return cls(entry["name"], entry["method"], entry["figures"], *lists, error, True, entry["verdict"])


class Record:
    """The outcomes of reconstructions, by key.

    Parameters
    ----------
    folder
        The output folder.
    shard_folder
        Folder for the records of a shard, which has its own record in addition to that of the merged shards.
    """

    def __init__(self, folder: Path, shard_folder: Path | None = None) -> None:
        self.folder = folder
        self._is_shard = shard_folder is not None
        folders = [folder] if shard_folder is None else [shard_folder, folder]
        self._journals = [Journal(path / RECORD, ENTRY) for path in folders]

    def find(self, key: str, checksum: str) -> Outcome | None:
        """The recorded reconstruction with this checksum, even if images were removed since; None if there is none.

        An entry found in the record of merged shards is added to that of the shard.
        """
        own = self._journals[0].get(key)
        for journal in self._journals:
            entry = successful(journal.get(key))
            if entry is not None and entry["checksum"] == checksum:
                if entry != own:
                    self._journals[0].add(key, entry)
                return Outcome.of_entry(entry, self.folder)
        return None

    def find_other(self, key: str, checksum: str) -> dict[str, Any] | None:
        """The entry of images with another checksum; None if there is none, or if all entries have this checksum."""
        entries = (successful(journal.get(key)) for journal in self._journals)
        return next((entry for entry in entries if entry is not None and entry["checksum"] != checksum), None)

    def add(
        self, key: str, outcome: Outcome, scan: Path, checksum: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Record an outcome; an error replaces existing images only in a shard, where it is merged later.

        Raises
        ------
        FileError
            If the record cannot be written.
        """
        entry = outcome.as_entry(scan, checksum, self.folder, settings or {})
        if outcome.error is not None:
            entry["before"] = successful(self._journals[0].get(key))
            if entry["before"] is not None and not self._is_shard:
                return
        self._journals[0].add(key, entry)


@dataclass(frozen=True)
class Entry:
    """The place of a reconstruction in a record, if it is recorded.

    Attributes
    ----------
    request
        Scan, method, outputs and settings, with a resolved device (not ``auto``).
    identity
        The identity of the images; empty if the scan cannot be read.
    key
        The key of the reconstruction in the record.
    name
        Name of the scan.
    record
        The record; None if the outcome is not recorded.
    """

    request: "ReconRequest"
    identity: "Identity"
    key: str
    name: str
    record: Record | None

    def find(self) -> Outcome | None:
        """The outcome of an earlier run to be resumed, whose images may be missing; None if there is none."""
        if self.record is None or not self.request.resume:
            return None
        return self.record.find(self.key, self.identity.of_files)

    def add(self, outcome: Outcome) -> None:
        """Record an outcome.

        Raises
        ------
        FileError
            If the record cannot be written.
        """
        if self.record is not None:
            self.record.add(self.key, outcome, self.request.scan, self.identity.of_files, self.identity.settings)

    def refuse_other_images(self) -> None:
        """Refuse to continue if the record lists images of other settings of which some still exist.

        Raises
        ------
        FileError
            If there are such images, which must not be overwritten.
        """
        if self.record is None or self.request.force or not self.request.resume:
            return
        entry = self.record.find_other(self.key, self.identity.of_files)
        if entry is None:
            return
        written = Outcome.of_entry(entry, self.record.folder)
        remaining = missing_outputs(self.request.outputs, written)
        existing = next((output for output in self.request.outputs if output not in remaining), None)
        if existing is None:
            return
        settings = entry.get("settings")
        texts = list(self.identity.differences(settings)) if settings else ["from another scan or with other settings"]
        what = f"{Path(existing).name} already exists, but was made {'; '.join(texts[:MOST_DIFFERENCES])}"
        hint = "repeat the command with the former settings, choose another folder with -o, or --force overwrites it"
        raise FileError(what, where=existing, hint=hint)


def successful(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """The entry itself if it describes images, otherwise the preceding entry that does; None if there is none."""
    return entry.get("before") if entry is not None and entry["error"] is not None else entry


def outcome_of(
    slices: "Sequence[ReconstructedSlice]",
    name: str,
    method: str,
    written: "Sequence[Path] | dict[Path, float]" = (),
    before: Sequence[str] = (),
) -> Outcome:
    """The outcome of a reconstruction.

    Parameters
    ----------
    slices
        The reconstructed slices.
    name, method
        Names of the scan and the method.
    written, before
        The written files, and those of an earlier run; existing files of the earlier run are listed as well.
    """
    files = dict.fromkeys((*(path for path in before if Path(path).exists()), *map(str, written)))
    warnings = tuple(dict.fromkeys(text for part in slices for text in part.warnings))
    verdict = worst_status([part.verdict for part in slices])
    return Outcome(name, method, figures_of(slices), tuple(files), warnings, verdict=verdict)


def figures_of(slices: "Sequence[ReconstructedSlice]") -> dict[str, float]:
    """Figures of a scan, as sums or means over its slices."""
    n = len(slices)
    figures: dict[str, float] = {
        "slices": n,
        "frames": max(part.cine.n_frames for part in slices),
        "acceleration": sum(part.acceleration for part in slices) / n,
        "seconds": sum(sum(part.seconds.values()) for part in slices),
        "residual": sum(part.residual for part in slices) / n,
    }
    medians = [part.snr["median"] for part in slices if part.snr]
    figures |= {"snr": sum(medians) / n} if len(medians) == n else {}
    for measure in ("psnr", "ssim"):
        values = [part.quality[measure] for part in slices if measure in part.quality]
        figures |= {measure: sum(values) / n} if len(values) == n else {}
    return figures


def recorded_scans(folder: Path, records: Iterable[Path]) -> set[Path]:
    """Absolute paths of the scans in the records of an output folder; records of shards are in separate folders."""
    journals = [Journal(path / RECORD, ENTRY) for path in records]
    texts = {journal.get(key)["scan"] for journal in journals for key in journal}
    return absolute_paths(path for text in texts for path in (folder / text, text))


def missing_outputs(outputs: Sequence[str], earlier: Outcome | None) -> tuple[str, ...]:
    """The requested outputs that an earlier run has not written, or of which a file has since been removed."""
    if earlier is None:
        return tuple(outputs)
    files = {path: path.exists() for path in absolute_paths(earlier.written)}
    return tuple(output for output in outputs if not _is_complete(output, files))


def _is_complete(output: str, files: dict[Path, bool]) -> bool:
    """Whether a target is among the written files, and all of its files exist."""
    parsed = Target.parse(output)
    target = Target(absolute(parsed.path), parsed.ending)
    return target.path in files and all(exists for path, exists in files.items() if target.includes(path))


def merge_batch(folder: Path) -> list[Outcome]:
    """Merge the records of all shards of a batch into that of the folder, in the order of the list of scans.

    Repeating the call gives the same result. Entries of other scans and methods in the record are kept.

    Raises
    ------
    FileError, ConfigError
        If the shards are incomplete, unfinished or from different runs, see `io.shards.read_finished_shards`.
    """
    shards = read_finished_shards(folder, COMMAND)
    journals = [Journal(Shard(shard.number, shard.n).folder(folder, COMMAND) / RECORD, ENTRY) for shard in shards]
    labels = [model_label(model) for model in shards[0].identity["models"]]
    merged = Journal(folder / RECORD, ENTRY)
    entries: dict[str, Any] = {}
    for position, name in enumerate(in_list_order(shards)):
        for label in labels:
            key, shard = f"{name}.{label}", shards[position % len(shards)]
            entry = journals[position % len(shards)].get(key)
            if entry is None:
                what = f"{shard.name} has no result of {label} for {name}"
                hint = f"cinerecon {COMMAND} ... --resume --shard {shard.number}/{shard.n}"
                raise FileError(what, where=str(folder), hint=hint)
            if entry["error"] is not None and entry["before"] is None:
                entry["before"] = successful(merged.get(key))
            entries[key] = entry
    outcomes = [Outcome.of_entry(entry, folder) for entry in entries.values()]
    entries |= _comparisons(journals)
    ScanNames(folder, COMMAND).merge()
    merged.replace({key: merged.get(key) for key in merged if key not in entries} | entries)
    return outcomes


def _comparisons(journals: Sequence[Journal]) -> dict[str, Any]:
    """The entries of movies that compare methods."""
    entries = {key: journal.get(key) for journal in journals for key in journal}
    return {key: entry for key, entry in entries.items() if entry["method"] == COMPARISON}
