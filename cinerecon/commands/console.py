"""Printed output of commands: text that fits the terminal, tables, progress, and the log of a run."""

import logging
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from cinerecon.evaluation.tables import Table

LABEL_WIDTH = 13
"""Width of the labels before text [characters]."""
MIN_TEXT_WIDTH = 20
STYLES = {"": "", "caption": "italic", "head": "bold", "best": "bold", "foreign": "bright_black"}
PROGRESS_DELAY_S = 2.0
"""Time after which a progress bar appears [s]."""
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_LOG_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")

logger = logging.getLogger("cinerecon")


def terminal_width() -> int | None:
    """Number of characters per line; None if the output is not a terminal and COLUMNS is not set."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if is_known else None


def wrap(text: str, first: str = "", others: str = "  ") -> str:
    """Break a text into lines that fit the terminal; the first has the prefix `first`, the others have `others`."""
    width = terminal_width()
    if width is None:
        return first + text
    n_characters = max(width, len(others) + MIN_TEXT_WIDTH)
    return textwrap.fill(
        text,
        n_characters,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_labelled(label: str, text: str) -> None:
    """Print a text after its label, with further lines aligned below the first."""
    print(wrap(text, f"{label:<{LABEL_WIDTH}}", " " * LABEL_WIDTH))


def print_tables(tables: "Sequence[Table]") -> None:
    """Print each table with its notes; notes that related tables share are printed once, after the last of them."""
    from rich.console import Console
    from rich.text import Text

    from cinerecon.evaluation.tables import lay_out_text, with_notes_once

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for table in with_notes_once(tables):
        for line in lay_out_text(table, terminal_width()):
            console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)))
        console.print()
        for note in table.notes:
            console.print(Text(wrap(note), "bright_black"))


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Provide a function that shows the progress, called with the name of the step and the fraction done.

    The bar appears on standard error after two seconds, and is removed at the end.
    """
    bar: Progress | None = None
    start = time.monotonic()

    def progress(text: str, fraction: float) -> None:
        nonlocal bar
        if bar is None and not quiet and time.monotonic() - start > PROGRESS_DELAY_S:
            bar = _started_bar()
        if bar is not None:
            bar.update(bar.task_ids[0], description=text, completed=fraction)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.stop()


def _started_bar() -> "Progress":
    """A progress bar with one task; it is not shown if standard error is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),  # a file name may contain brackets
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    bar.add_task("", total=1.0)
    bar.start()
    return bar


@contextmanager
def run_log(file: Path | None, *, quiet: bool, sources: list[Path]) -> Iterator[None]:
    """Write the log of the package to a file within a context, one line per finished slice.

    Lines are appended to the file, also warnings and errors; ``quiet`` writes no lines about slices to standard error.

    Raises
    ------
    FileError
        If the file cannot be written, is one of the sources, or is not a log file.
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
        raise FileError(
            "there is no such folder", where=str(file.parent), hint="create it, or choose another file with --log"
        )
    if file.exists() and not file.is_file():
        raise FileError("the log is not a regular file", where=str(file))
    if file.exists() and file.stat().st_size and not _LOG_LINE.match(file.read_bytes()[:20]):
        raise FileError(f"{file.name} already exists and is not a log", where=str(file), hint="choose another --log")
