"""Wide tables in parts that fit a width: bands of columns below each other, each with the first column."""

import textwrap
from collections.abc import Callable, Sequence

Widths = Callable[[str], float]
"""The width of a text, in the units of the limit."""


def split_into_bands(widths: Sequence[float], limit: float, gap: float) -> list[list[int]] | None:
    """Which columns each band holds, in order; the first column is part of all.

    Parameters
    ----------
    widths
        Widths of the columns.
    limit
        Width of a band.
    gap
        Between two columns.

    Returns
    -------
    list or None
        Numbers of columns of each band; None if a column does not fit next to the first one.
    """
    bands, used = [[0]], widths[0]
    for column, width in enumerate(widths[1:], start=1):
        if used + gap + width > limit and len(bands[-1]) > 1:
            bands.append([0])
            used = widths[0]
        bands[-1].append(column)
        used += gap + width
        if used > limit:
            return None
    return bands if used <= limit else None


def wrap_title(title: str, width: int) -> list[str]:
    """The lines of a title above a column of this width; its longest word may be wider."""
    return textwrap.wrap(title, max(width, *(len(word) for word in title.split())), break_long_words=False)
