"""Names of scans in an output folder, which are the same in all runs with this folder.

They are recorded in ``names.jsonl`` at the start of a run, and those of a shard in its folder. Paths are relative to
the output folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cinerecon.archives.journal import Journal
from cinerecon.archives.scan_list import path_checksum, path_parts
from cinerecon.archives.shards import Shard, shard_folders
from cinerecon.io.paths import absolute, relative

NAMES = "names.jsonl"


class ScanNames:
    """The names of scans in an output folder, which are used for files and results.

    Parameters
    ----------
    output
        The output folder; if None, no names are recorded.
    command
        The command whose shards may have records in the folder.
    """

    def __init__(self, output: Path | None, command: str) -> None:
        self.output, self.command = output, command
        self._recorded: dict[Path, str] = {}
        if output is not None:
            for folder in (output, *(folder for folder, _ in shard_folders(output, command))):
                self._recorded |= _read(folder, output)

    def keep(self, names: Mapping[Path, str]) -> dict[Path, str]:
        """The names for a run: those of recorded scans do not change, and are not given to other scans.

        For a given list of scans, the result is the same before, during and after a run of some of them, so that it is
        the same for all shards. Names that differ only in upper and lower case are considered equal. The name of a scan
        that no longer exists, e.g. because it was moved, can be reused.
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
        """Record the names of a run or of a shard.

        Raises
        ------
        FileError
            If they cannot be written.
        """
        if self.output is None:
            return
        folder = self.output if shard is None else shard.folder(self.output, self.command)
        before = _read(folder, self.output)
        added = {absolute(path): name for path, name in names.items()}
        reused = set(added.values())
        entries = {path: name for path, name in before.items() if name not in reused} | added
        if entries != before:
            Journal(folder / NAMES).replace({relative(path, self.output): name for path, name in entries.items()})

    def merge(self) -> None:
        """Record the names of all shards as those of the folder."""
        self.record(self._recorded)


def _read(folder: Path, output: Path) -> dict[Path, str]:
    """Read the recorded names by the absolute paths of the scans."""
    journal = Journal(folder / NAMES)
    return {absolute(output / path): name for path in journal if _is_name(name := journal.get(path))}


def _is_name(name: object) -> bool:
    """Whether a recorded entry is a valid name below the output folder."""
    return isinstance(name, str) and bool(name) and ".." not in Path(name).parts and not Path(name).is_absolute()


def _is_free(scans: Sequence[Path], scan: Path) -> bool:
    """Whether a scan may have a name that is recorded for other scans; it belongs to the last one that exists."""
    return not scans or scan == scans[-1] or next((path for path in reversed(scans) if path.exists()), scan) == scan


def _longer_names(path: Path, name: str) -> Iterator[str]:
    """The name, then names with an increasing number of folders of the scan, then with a checksum of its path."""
    yield name
    *folders, _ = path_parts(path)
    *_, last = name.split("/")
    for n in range(name.count("/") + 1, len(folders) + 1):
        yield "/".join((*folders[len(folders) - n :], last))
    yield f"{name}-{path_checksum(absolute(path))}"
