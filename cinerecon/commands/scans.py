"""Scans, shards and standard streams from the options of a command."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from cinerecon.errors import ConfigError
from cinerecon.options import ArchiveOptions

if TYPE_CHECKING:
    from cinerecon.archives.shards import Shard

STANDARD = Path("-")
"""Standard input as a scan, standard output as a file to write."""
STREAM_NAME = "stdout.mrd"


def shard_of(options: ArchiveOptions) -> "Shard | None":
    """The shard of ``--shard``; None if it is not given.

    Raises
    ------
    ConfigError
        If it is invalid.
    """
    from cinerecon.archives.shards import Shard

    return None if options.shard is None else Shard.parse(options.shard)


def scans_of(paths: Sequence[Path], lists: Sequence[Path]) -> tuple[tuple[Path, ...], bool]:
    """The files and folders, including those from lists, and whether lists were given.

    Raises
    ------
    ConfigError
        If no scan is given.
    FileError
        If a list cannot be read.
    """
    from cinerecon.archives.scan_list import is_list, with_lists
    from cinerecon.errors import ConfigError

    if not paths and not lists:
        raise ConfigError("no scan is given", hint="give scans, folders of them, or a list, @list.txt")
    return with_lists(paths, lists), bool(lists) or any(map(is_list, paths))


def print_shard(options: ArchiveOptions, output: Path) -> None:
    """Print that a shard is complete, and the command that merges all shards."""
    names = [name for name in ("baseline", "tables") if hasattr(options, name) and options.is_changed(name)]
    values = {options.option_of(name): getattr(options, name) for name in names}
    arguments = [
        f" {option} {v}" for option, value in values.items() for v in ([value] if isinstance(value, str) else value)
    ]
    print(
        f"shard {options.shard} is complete; when all shards are complete: cinerecon merge {output}{''.join(arguments)}"
    )


@contextmanager
def scan_file(path: Path) -> Iterator[Path]:
    """The file of a scan; standard input is copied to a temporary file named ``stdin`` until the block ends."""
    if path != STANDARD:
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield copy


def binary_output() -> BinaryIO:
    """Standard output for binary data.

    Raises
    ------
    ConfigError
        If it is a terminal.
    """
    if sys.stdout.isatty():
        hint = "-o cine.mrd, or a pipe: cinerecon ... -o - | another-program"
        raise ConfigError("a stream is not written to a terminal", where="-o -", hint=hint)
    return sys.stdout.buffer


@contextmanager
def images_to_standard_output() -> Iterator[Path]:
    """A temporary file for a stream of images, which is sent to standard output when the block has succeeded.

    Streams of maps next to it follow as further series: SNR, noise, uncertainty, velocity. Text that is printed in the
    block goes to standard error.

    Raises
    ------
    ConfigError
        If standard output is a terminal.
    """
    from cinerecon.io.export import MAPS, Target
    from cinerecon.io.mrd_stream.images import join_streams

    output = binary_output()
    with TemporaryDirectory() as folder:
        target = Target.parse(str(Path(folder) / STREAM_NAME))
        with redirect_stdout(sys.stderr):
            yield target.path
        join_streams([part.path for part in target.with_maps(*MAPS) if part.path.exists()], output)
        output.flush()
