"""Scans from standard input and streams to standard output, both given as ``-``."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from cinerecon.errors import ConfigError

STANDARD = Path("-")
"""Standard input as a scan, standard output as a file to write."""
STREAM_NAME = "stdout.mrd"


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

    Streams of maps next to it follow as further series: SNR, noise, uncertainty, velocity. What is printed in the block
    goes to standard error.

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
