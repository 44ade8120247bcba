"""Which files may be opened: reading a pipe or a device would wait for its other end."""

from pathlib import Path

from cinerecon.errors import FileError


def is_pipe(path: Path) -> bool:
    """Whether a path exists and is neither a regular file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or a device; what is missing, or a folder, is left to the reader.

    Raises
    ------
    FileError
        If the path is a pipe or a device.
    """
    if is_pipe(path):
        raise FileError("this is no regular file (a pipe or a device)", where=str(path))
