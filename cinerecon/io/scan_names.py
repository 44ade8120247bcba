"""Names of scans in an output folder, which a scan keeps in all further runs into this folder.

They are recorded in ``names.jsonl`` when a run starts, those of a shard with its other records. Paths are relative to
the output folder.
"""

from collections.abc import Iterator, Mapping, Sequence
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
            for folder in (output, *(folder for folder, _ in shard_folders(output, command))):
                self._recorded |= _read(folder, output)

    def keep(self, names: Mapping[Path, str]) -> dict[Path, str]:
        """The names of a run, of which recorded scans keep theirs; others do not take the name of a recorded scan.

        The result for one list of scans is the same before, during and after a run of some of them, so that shards
        agree. Names that differ in upper and lower case alone count as equal. A scan that no longer exists, e.g.
        because it was moved, leaves its name to others.
        """
        scans: dict[str, list[Path]] = {}
        for path, name in self._recorded.items():
            scans.setdefault(name.casefold(), []).append(path)
        result = {}
        for path, name in names.items():
            key = absolute(path)
            candidates = (self._recorded.get(key, name), *_longer_names(path, name))
            result[path] = next(text for text in candidates if _is_free(scans.get(text.casefold(), []), key))
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
        added = {absolute(path): name for path, name in names.items()}
        taken = set(added.values())
        entries = {path: name for path, name in before.items() if name not in taken} | added
        if entries != before:
            Journal(folder / NAMES).replace({relative(path, self.output): name for path, name in entries.items()})

    def merge(self) -> None:
        """Record the names of all shards as those of the folder."""
        self.record(self._recorded)


def _read(folder: Path, output: Path) -> dict[Path, str]:
    """The names in a record, by the absolute paths of the scans."""
    journal = Journal(folder / NAMES)
    return {absolute(output / path): name for path in journal if _is_name(name := journal.get(path))}


def _is_name(name: object) -> bool:
    """Whether an entry is a name below the output folder."""
    return isinstance(name, str) and bool(name) and ".." not in Path(name).parts and not Path(name).is_absolute()


def _is_free(scans: Sequence[Path], scan: Path) -> bool:
    """Whether a scan may have a name that is recorded for some scans, of which the last one that exists has it."""
    return not scans or scan == scans[-1] or next((path for path in reversed(scans) if path.exists()), scan) == scan


def _longer_names(path: Path, name: str) -> Iterator[str]:
    """A name, then those with more and more of the folders of the scan, then with a checksum of its path."""
    yield name
    *folders, _ = path_parts(path)
    *_, last = name.split("/")
    for n in range(name.count("/") + 1, len(folders) + 1):
        yield "/".join((*folders[len(folders) - n :], last))
    yield f"{name}-{path_checksum(absolute(path))}"
