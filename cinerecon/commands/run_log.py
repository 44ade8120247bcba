"""Lines about a run while it goes on: to standard error where that is no terminal, and to a log file."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")

logger = logging.getLogger("cinerecon")


@contextmanager
def run_log(file: Path | None, *, quiet: bool, sources: list[Path]) -> Iterator[None]:
    """Write what the package logs, one line per finished slice.

    Parameters
    ----------
    file
        Log file, to which lines are appended; it also gets warnings and errors.
    quiet
        Write no lines about slices to standard error.
    sources
        Files that are read, none of which may be the log file.

    Raises
    ------
    FileError
        If the file cannot be written, is read, or is no log file.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        _check_log_file(file, sources)
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s  %(message)s", TIME_FORMAT))
    lowest = logging.INFO + 1 if quiet or sys.stderr.isatty() else logging.INFO
    handlers.append(logging.StreamHandler(sys.stderr))
    handlers[-1].addFilter(lambda record: lowest <= record.levelno < logging.WARNING)  # the command prints warnings
    level = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        logger.warning("stopped")
        raise
    except Exception as error:
        logger.error("%s", " | ".join(str(error).splitlines()))
        raise
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _check_log_file(file: Path, sources: list[Path]) -> None:
    from cinerecon.errors import FileError
    from cinerecon.io.atomic import is_same_file, refuse_existing, would_overwrite

    source = next((path for path in sources if is_same_file(path, file)), None)
    if source is not None:
        raise would_overwrite(source, file)
    refuse_existing(file, force=True)
    if not file.parent.is_dir():
        raise FileError("there is no such folder", where=str(file.parent), hint="make it, or choose another --log")
    if file.exists() and not file.is_file():
        raise FileError("the log is no regular file", where=str(file))
    if file.exists() and file.stat().st_size and not _LOG_LINE.match(file.read_bytes()[:20]):
        raise FileError(f"{file.name} exists already and is no log", where=str(file), hint="choose another --log")
