"""Scans from standard input, given as ``-``."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

STANDARD_INPUT = Path("-")


@contextmanager
def scan_file(path: Path) -> Iterator[Path]:
    """The file of a scan; standard input is copied to a temporary file named ``stdin`` until the block ends."""
    if path != STANDARD_INPUT:
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield copy
