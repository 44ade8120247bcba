"""Text that fits the terminal; into a file or pipe it goes without line breaks, unless ``COLUMNS`` says how wide."""

import os
import shutil
import sys
import textwrap

LABEL = 13
"""Width [characters] of the labels before text."""
LEAST_TEXT = 20


def terminal_width() -> int | None:
    """Characters of a line; None where the output is no terminal and the environment does not say it."""
    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if is_known else None


def wrap(text: str, first: str = "", others: str = "  ") -> str:
    """Break a text into lines that fit, the first line after `first`, the others after `others`."""
    width = terminal_width()
    if width is None:
        return first + text
    room = max(width, len(others) + LEAST_TEXT)
    return textwrap.fill(
        text, room, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def print_labelled(label: str, text: str) -> None:
    """Print a text after its label, its further lines below its first."""
    print(wrap(text, f"{label:<{LABEL}}", " " * LABEL))
