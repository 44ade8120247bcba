"""Shards of a run over many scans, which write separate records that are merged after all shards have finished.

The records of a shard are in a subfolder of the output folder, e.g. ``shards/evaluate-2-of-4``. Its ``shard.json`` is
written atomically at the start, and again at the end with the checksums of the other records, so that interrupted
shards are recognised as unfinished.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from cinerecon.config import differences
from cinerecon.errors import ConfigError, FileError
from cinerecon.io.atomic import clear_partial, write_text
from cinerecon.io.checksums import hash_file

SHARDS, RECORD = "shards", "shard.json"
_FOLDER = re.compile(r"([a-z]+)-(\d+)-of-(\d+)")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``n`` parts of a run, counted from 1.

    The position of a scan in the list of all scans determines its shard, so that shards of a list do not overlap.
    """

    number: int = 1
    n: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a string such as ``2/4``, the second of four shards.

        Raises
        ------
        ConfigError
            If the string does not have this form, or there is no such shard.
        """
        parts = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if parts is None:
            raise ConfigError(f"'{text}' is not a shard", where="--shard", hint="e.g. --shard 2/4, the second of four")
        number, n = int(parts[1]), int(parts[2])
        if not 1 <= number <= n:
            hint = f"--shard 1/{n} to --shard {n}/{n}" if n else "e.g. --shard 1/4"
            raise ConfigError(f"there is no shard {text}", where="--shard", hint=hint)
        return cls(number, n)

    def __str__(self) -> str:
        return f"{self.number}/{self.n}"

    def part(self, items: Sequence[Item]) -> list[Item]:
        """The items of this shard: every n-th item, so that the shards of a sorted list are similar."""
        return list(items[self.number - 1 :: self.n])

    def folder(self, output: Path, command: str) -> Path:
        """The folder for the records of this shard of a command."""
        return output / SHARDS / f"{command}-{self.number}-of-{self.n}"


@dataclass(frozen=True)
class ShardRecord:
    """The record of a shard, ``shard.json``.

    Attributes
    ----------
    command, number, n
        The command, the number of the shard, and the number of shards.
    identity
        All settings that affect the results, which must be equal for all shards.
    all_scans
        Number of scans of all shards, and checksum of their names.
    scans
        Names of the scans of this shard, in order.
    files
        Checksums of the other records; None until the shard has finished.
    details
        Additional values of the command.
    """

    command: str
    number: int
    n: int
    identity: Mapping[str, Any]
    all_scans: tuple[int, str]
    scans: tuple[str, ...]
    files: Mapping[str, str] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the shard in messages."""
        return f"shard {self.number}/{self.n}"


def start_shard(
    output: Path, command: str, shard: Shard, scans: Sequence[str], identity: Mapping[str, Any]
) -> ShardRecord:
    """Record that a shard has started.

    Parameters
    ----------
    output
        The output folder.
    command
        The command.
    shard
        The shard.
    scans
        Names of the scans of all shards, in order.
    identity
        All settings that affect the results.

    Raises
    ------
    ConfigError
        If the folder contains shards of a run with another number of shards.
    """
    for folder, other in shard_folders(output, command):
        if other.n != shard.n:
            what = f"the folder contains shards i/{other.n}, but this is shard {shard}"
            hint = f"--shard i/{other.n}; or merge and then remove them (their results are kept): {folder.parent}"
            raise ConfigError(what, where="--shard", hint=hint)
    folder = shard.folder(output, command)
    clear_partial(folder)
    record = ShardRecord(
        command=command,
        number=shard.number,
        n=shard.n,
        identity=json.loads(json.dumps(identity, default=str)),
        all_scans=(len(scans), _checksum(scans)),
        scans=tuple(shard.part(scans)),
    )
    _write(folder, record)
    return record


def finish_shard(output: Path, record: ShardRecord, **details: Any) -> None:
    """Record that a shard has finished, with the checksums of its records."""
    folder = Shard(record.number, record.n).folder(output, record.command)
    _write(folder, replace(record, files=_checksums(folder), details=details))


def shard_folders(output: Path, command: str) -> list[tuple[Path, Shard]]:
    """The folders of the shards of a command, identified by name and sorted by number."""
    matches = [(folder, _FOLDER.fullmatch(folder.name)) for folder in (output / SHARDS).glob(f"{command}-*")]
    shards = [(folder, Shard(int(name[2]), int(name[3]))) for folder, name in matches if name and name[1] == command]
    return sorted(shards, key=lambda pair: (pair[1].n, pair[1].number))


def sharded_commands(output: Path) -> list[str]:
    """The commands of the shards in a folder."""
    names = (_FOLDER.fullmatch(folder.name) for folder in (output / SHARDS).glob("*"))
    return sorted({name[1] for name in names if name})


def read_finished_shards(output: Path, command: str) -> list[ShardRecord]:
    """Read the records of all shards of a command, sorted by number, and check that they belong to one run.

    Temporary files of an interrupted merge are removed.

    Raises
    ------
    FileError
        If there are no shards, or a shard is missing, unfinished, duplicated, or was changed after it had finished.
    ConfigError
        If the shards have different numbers of shards, lists of scans or settings.
    """
    folders = shard_folders(output, command)
    if not folders:
        raise FileError("there are no shards", where=str(output / SHARDS), hint=f"cinerecon {command} ... --shard 1/4")
    numbers = sorted({shard.n for _, shard in folders})
    if len(numbers) > 1:
        what = f"there are shards from different runs: {', '.join(f'i/{n}' for n in numbers)}"
        raise ConfigError(what, where=str(output / SHARDS), hint="remove those that do not belong to this run")
    _require_all(folders, output, command)
    records = [_read(folder, shard, command) for folder, shard in folders]
    for record in records[1:]:
        _require_same_run(records[0], record, output)
    _require_each_scan_once(records, output)
    clear_partial(output)
    return records


def in_list_order(records: Sequence[ShardRecord]) -> list[str]:
    """The names of the scans of all shards, in the order of the original list."""
    n = len(records)
    return [records[k % n].scans[k // n] for k in range(sum(len(record.scans) for record in records))]


def _require_all(folders: Iterable[tuple[Path, Shard]], output: Path, command: str) -> None:
    shards = [shard for _, shard in folders]
    n = shards[0].n
    missing = sorted(set(range(1, n + 1)) - {shard.number for shard in shards})
    if missing:
        listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        what = f"{len(missing)} of {n} shards {'is' if len(missing) == 1 else 'are'} missing: {listed}"
        raise FileError(what, where=str(output / SHARDS), hint=f"cinerecon {command} ... --shard {missing[0]}/{n}")


def _require_same_run(first: ShardRecord, other: ShardRecord, output: Path) -> None:
    where = str(output / SHARDS)
    if other.all_scans != first.all_scans:
        what = f"{first.name} and {other.name} are parts of different lists of scans"
        what += f" ({first.all_scans[0]} and {other.all_scans[0]} scans)"
        hint = "run all shards again with one list, @list.txt; finished scans are kept"
        raise ConfigError(what, where=where, hint=hint)
    for name, *values in differences(dict(first.identity), dict(other.identity)):
        texts = ["not set" if value in (None, "", []) else f"{value}"[:60] for value in values]
        what = f"{first.name} and {other.name} have different settings: {name} is {' and '.join(texts)}"
        raise ConfigError(what, where=where, hint="run all shards with the same settings, weights and code")


def _require_each_scan_once(records: Sequence[ShardRecord], output: Path) -> None:
    n_scans, checksum = records[0].all_scans
    shard_of: dict[str, str] = {}
    for record in records:
        for scan in record.scans:
            if scan in shard_of:
                what = f"{scan} is in {shard_of[scan]} and in {record.name}"
                raise FileError(what, where=str(output / SHARDS), hint="run both shards again")
            shard_of[scan] = record.name
    if len(shard_of) != n_scans or _checksum(in_list_order(records)) != checksum:
        what = f"the {len(shard_of)} scans of the shards are not the {n_scans} of the list"
        raise FileError(what, where=str(output / SHARDS), hint="run all shards again")


def _read(folder: Path, shard: Shard, command: str) -> ShardRecord:
    """Read the record of a finished shard."""
    rerun = f"cinerecon {command} ... --shard {shard}"
    unfinished = FileError(f"shard {shard} is not finished", where=str(folder), hint=f"{rerun} continues it")
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        values |= {"all_scans": tuple(values["all_scans"]), "scans": tuple(values["scans"])}
        record = ShardRecord(**values)
    except FileNotFoundError:
        raise unfinished from None
    except (OSError, ValueError, KeyError, TypeError):
        raise FileError(f"shard {shard} has no readable record", where=str(folder / RECORD), hint=rerun) from None
    if (record.command, record.number, record.n) != (command, shard.number, shard.n):
        what = f"this is {record.command} {record.name}, duplicated or renamed"
        raise FileError(what, where=str(folder), hint=f"remove this folder, then run {rerun}")
    if record.files is None:
        raise unfinished
    if record.files != _checksums(folder):
        raise FileError(f"the records of shard {shard} have changed since it finished", where=str(folder), hint=rerun)
    return record


def _write(folder: Path, record: ShardRecord) -> None:
    write_text(folder / RECORD, json.dumps(asdict(record), indent=1) + "\n")


def _checksums(folder: Path) -> dict[str, str]:
    """Checksums of the records of a shard, by name."""
    files = sorted(path for path in folder.iterdir() if path.name != RECORD and not path.name.startswith("."))
    return {path.name: hash_file(path) for path in files}


def _checksum(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()
