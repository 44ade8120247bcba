"""The package ``mrd-python``, which is an optional part of the installation."""

from pathlib import Path
from types import ModuleType

from cinerecon.errors import FileError

MAGIC = b"yardl"
"""First bytes of a binary MRD 2 file."""


def is_mrd2(path: Path) -> bool:
    """Whether a file begins like a binary stream of MRD version 2."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def load_mrd(where: str) -> ModuleType:
    """The package ``mrd``.

    Raises
    ------
    FileError
        If it is not installed.
    """
    try:
        import mrd
    except ImportError:
        what = "MRD version 2 needs the package mrd-python"
        raise FileError(what, where=where, hint="pip install 'cinerecon[mrd2]'") from None
    module: ModuleType = mrd
    return module
