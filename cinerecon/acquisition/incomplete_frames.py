"""Warnings about frames with fewer lines than the others.

They are late cardiac phases that only long heartbeats reach, or belong to a scan that was stopped.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.grid import Grid
from cinerecon.acquisition.placement import Lines

INCOMPLETE_FRACTION = 0.75
"""Lines of a frame over the median of all frames, below which it is incomplete. Random patterns vary less."""
CENTRE_HALF_WIDTH = 2
"""Rows on each side of the centre of k-space, one of which a frame needs for the contrast of its image."""
MAX_LISTED_FRAMES = 8
"""Largest number of frames that a warning names; more are counted."""


def incomplete_frame_warnings(lines: Lines, n_frames: Iterable[int], grid: Grid) -> Iterator[str]:
    """A warning for each slice with frames that were measured in part.

    Where all frames measure lines of one set, every frame that lacks some of them is named; where the patterns differ,
    those that have far fewer.

    Parameters
    ----------
    lines
        The image readouts of all slices, placed.
    n_frames
        Per slice.
    grid
        The encoded grid.
    """
    counts = tuple(n_frames)
    for number, n in enumerate(counts):
        mask = lines.of_slice(number).mask(n, grid.ky)[:, 0, :, 0]
        text = describe_incomplete_frames(mask, grid.ky // 2, f" of slice {number}" if len(counts) > 1 else "")
        if text:
            yield text


def describe_incomplete_frames(mask: NDArray[np.bool_], centre: int, place: str = "") -> str:
    """Name the frames of a slice that were measured in part; empty if there are none.

    Parameters
    ----------
    mask
        ``(frames, ky)``
    centre
        The row at the centre of k-space.
    place
        Which slice it is, in words, where there are several.
    """
    incomplete = _incomplete(mask)
    if not incomplete.any():
        return ""
    parts = "; ".join(_incomplete_texts(mask, incomplete, centre))
    kept = _complete_run(incomplete)
    option = f"; --frames {kept[0]}:{kept[1]} leaves them out" if kept else ""
    return f"frames measured in part{place}: {parts} - their images are not to be trusted{option}"


def _incomplete(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames lack lines that the others have, ``(frames,)``; from ``(frames, ky)``."""
    n_lines = mask.sum(1)
    fullest = mask[n_lines.argmax()]
    is_one_pattern = not (mask & ~fullest).any()
    return np.asarray(n_lines < (n_lines.max() if is_one_pattern else INCOMPLETE_FRACTION * np.median(n_lines)))


def _incomplete_texts(mask: NDArray[np.bool_], incomplete: NDArray[np.bool_], centre: int) -> Iterator[str]:
    """Each incomplete frame with its lines; those beyond a few are counted."""
    n_lines = mask.sum(1)
    expected = int(np.median(n_lines[~incomplete]))
    numbers = np.flatnonzero(incomplete)
    for number in numbers[:MAX_LISTED_FRAMES]:
        has_centre = mask[number, max(centre - CENTRE_HALF_WIDTH, 0) : centre + CENTRE_HALF_WIDTH + 1].any()
        yield f"frame {number} has {n_lines[number]} of {expected} lines{'' if has_centre else ', none at the centre'}"
    if len(numbers) > MAX_LISTED_FRAMES:
        yield f"and {len(numbers) - MAX_LISTED_FRAMES} more"


def _complete_run(incomplete: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The frames before or after all incomplete ones; None if there are complete ones on both sides."""
    numbers = np.flatnonzero(incomplete)
    first, last = int(numbers[0]), int(numbers[-1])
    if last == len(incomplete) - 1 and first > 0:
        return (0, first)
    return (last + 1, len(incomplete)) if first == 0 and last + 1 < len(incomplete) else None
