"""The scans and the shard that the options of a command give."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cinerecon.options import ArchiveOptions

if TYPE_CHECKING:
    from cinerecon.io.shards import Shard


def shard_of(options: ArchiveOptions) -> "Shard | None":
    """The shard of ``--shard``; None if it is not given.

    Raises
    ------
    ConfigError
        If it is not understood.
    """
    from cinerecon.io.shards import Shard

    return None if options.shard is None else Shard.parse(options.shard)


def scans_of(paths: Sequence[Path], lists: Sequence[Path]) -> tuple[tuple[Path, ...], bool]:
    """The given files and folders with those in lists, and whether there are lists.

    Raises
    ------
    ConfigError
        If no scan is given.
    FileError
        If a list cannot be read.
    """
    from cinerecon.errors import ConfigError
    from cinerecon.io.scan_list import is_list, with_lists

    if not paths and not lists:
        raise ConfigError("no scan is given", hint="give scans, folders of them, or a list, @list.txt")
    return with_lists(paths, lists), bool(lists) or any(map(is_list, paths))


def print_shard(options: ArchiveOptions, output: Path) -> None:
    """Print that a shard is finished, and how the results of all are joined."""
    print(f"shard {options.shard} is finished; when all are: cinerecon merge {output}")
