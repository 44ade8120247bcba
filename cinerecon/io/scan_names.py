"""Names of scans in an output folder, which a scan keeps in all further runs into this folder.

They are recorded in ``names.jsonl`` when a run starts, those of a shard with its other records. Paths are relative to
the output folder.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from cinerecon.io.journal import Journal
from cinerecon.io.paths import absolute, relative
from cinerecon.io.scan_list import path_checksum, path_parts
from cinerecon.io.shards import Shard, shard_folders

NAMES = "names.jsonl"


class ScanNames:
    """The names of scans in an output folder, by which its files and results are called.

    Parameters
    ----------
    output
        The output folder; None if there is none, and no name is recorded.
    command
        The command whose shards may have records there.
    """

    def __init__(self, output: Path | None, command: str) -> None:
        self.output, self.command = output, command
        self._recorded: dict[Path, str] = {}
        if output is not None:
            for folder in (*(folder for folder, _ in shard_folders(output, command)), output):
                self._recorded |= _read(folder, output)

    def keep(self, names: Mapping[Path, str]) -> dict[Path, str]:
        """The names of a run, of which recorded scans keep theirs; others do not take the name of a recorded scan.

        The result for one list of scans is the same before, during and after a run of some of them, so that shards
        agree. Names that differ in upper and lower case alone count as equal.
        """
        owners = {name.casefold(): path for path, name in self._recorded.items()}
        result = {}
        for path, name in names.items():
            key = absolute(path)
            candidates = (text for text in _longer_names(path, name) if owners.get(text.casefold(), key) == key)
            result[path] = self._recorded.get(key) or next(candidates)
        return result

    def record(self, names: Mapping[Path, str], shard: Shard | None = None) -> None:
        """Record the names of a run, or those of a shard.

        Raises
        ------
        FileError
            If the file system refuses.
        """
        if self.output is None:
            return
        folder = self.output if shard is None else shard.folder(self.output, self.command)
        before = _read(folder, self.output)
        entries = before | {absolute(path): name for path, name in names.items()}
        if entries != before:
            Journal(folder / NAMES).replace({relative(path, self.output): name for path, name in entries.items()})

    def merge(self) -> None:
        """Record the names of all shards as those of the folder."""
        self.record(self._recorded)


def _read(folder: Path, output: Path) -> dict[Path, str]:
    """The names in a record, by the absolute paths of the scans."""
    journal = Journal(folder / NAMES)
    return {absolute(output / path): str(journal.get(path)) for path in journal}


def _longer_names(path: Path, name: str) -> Iterator[str]:
    """A name, then those with more and more of the folders of the scan, then with a checksum of its path."""
    yield name
    *folders, _ = path_parts(path)
    *_, last = name.split("/")
    for n in range(name.count("/") + 1, len(folders) + 1):
        yield "/".join((*folders[len(folders) - n :], last))
    yield f"{name}-{path_checksum(absolute(path))}"
