"""The command line of a benchmark: its options, and errors in three lines, as in `cinerecon`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError
from typing import NoReturn

from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.io.magnitude import find_magnitudes


class Parser(argparse.ArgumentParser):
    """A parser whose help is the description of the benchmark, and whose errors are raised."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise ConfigError(message, where=self.prog, hint="--help lists the options")


def make_parser(description: str | None, *, writes: str = "") -> Parser:
    """A parser with a description, and with the option ``--write`` if the benchmark writes to a page."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if writes:
        parser.add_argument("--write", action="store_true", help=f"write {writes}")
    return parser


def positive(text: str) -> int:
    """The type of an option that takes an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"an integer of at least 1 is expected, found {text}")
    return int(text)


def series_folder(text: str) -> Path:
    """The type of an option for a folder of magnitude cines; a folder without cines is refused."""
    folder = Path(text)
    if not find_magnitudes(folder):
        what = "the folder contains no magnitude cine" if folder.exists() else "there is no such folder"
        raise FileError(what, where=text, hint="give a folder of DICOM, NIfTI or .npz files")
    return folder


def run_benchmark(main: Callable[[], None]) -> None:
    """Run a benchmark; user errors are reported in three lines, with exit code 2."""
    try:
        main()
    except CineReconError as error:
        report = error
    except CalledProcessError as error:
        command = " ".join(map(str, error.cmd))
        report = CineReconError(f"a process ended with exit code {error.returncode}", where=command)
    except OSError as error:
        if error.filename is None:
            raise
        report = FileError(f"cannot use this path: {error.strerror}", where=str(error.filename))
    else:
        return
    print(f"error  {report}", file=sys.stderr)
    sys.exit(2)
