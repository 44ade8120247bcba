"""Detection of missing lines: incomplete frames, lines missing from all frames, and too few lines for coil maps."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.layout import ScanLayout
from cinerecon.acquisition.placement import CENTRE_HALF_WIDTH
from cinerecon.physics.sampling import csm_warning
from cinerecon.words import name_numbers

INCOMPLETE_FRACTION = 0.75
"""Ratio of the lines of a frame to the median of all frames below which it is incomplete; random masks vary less."""
MAX_CALIBRATION_FRAMES, MIN_CALIBRATION_LINES = 0.25, 4
"""Largest fraction of frames with additional central lines, and smallest number of such lines, for them to be unflagged
calibration lines, so that the other frames are complete."""
DENSE_FRACTION = 0.75
"""Fraction of measured lines between the first and the last one above which a frame is not undersampled."""
MAX_UNUSED_LINES = 2
"""Number of lines at an end of the header's range that scanners omit for symmetry about the centre."""
MAX_LISTED_FRAMES = 8
"""Largest number of frames that are named in a warning."""


def incomplete_frame_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice with incompletely measured frames.

    If all frames share one sampling mask, these are the frames that lack some of its lines. If the masks differ, they
    are the frames with far fewer lines.
    """
    for number in range(layout.n_slices):
        location = f" of slice {number}" if layout.n_slices > 1 else ""
        text = describe_incomplete_frames(layout.lines_of_frames(number), layout.grid.ky // 2, location)
        if text:
            yield text


def missing_line_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice without acceleration in which lines are missing from all frames."""
    encoding, grid = layout.raw.header.encoding, layout.grid
    limit = encoding.line_limit
    for number in range(layout.n_slices):
        mask = layout.lines_of_frames(number)
        measured = np.flatnonzero(mask.any(0)) - grid.first_row
        first, last = int(measured[0]), int(measured[-1])
        if encoding.acceleration > 1 or np.median(mask.sum(1)) <= DENSE_FRACTION * (last - first + 1):
            continue
        if limit is not None:
            begin = max(min(first, limit.minimum), -grid.first_row)
            end = min(max(last, limit.maximum), grid.ky - 1 - grid.first_row)
            first = begin if first - begin > MAX_UNUSED_LINES else first
            last = end if end - last > MAX_UNUSED_LINES else last
        missing = np.setdiff1d(np.arange(first, last + 1), measured)
        if missing.size:
            yield (
                f"slice {number}: {name_numbers('line', missing.tolist())} of {first} to {last} were not measured "
                "in any frame: partial Fourier, or was the scan stopped, or are readouts missing?"
            )


def csm_warnings(layout: ScanLayout) -> Iterator[str]:
    """A warning for each slice with too few lines for coil maps."""
    if len(layout.coils) == 1:
        return
    ky, kx = layout.grid.ky, layout.grid.kx
    for number, n_frames in enumerate(layout.counters.n_frames):
        extra, own = layout.calibration.of_slice(number), layout.lines.of_slice(number)
        warning = csm_warning(extra.mask(1, ky) if extra.row.size else own.mask(n_frames, ky), kx)
        if warning:
            yield warning


def describe_incomplete_frames(
    mask: NDArray[np.bool_], centre: int, location: str = "", *, has_option: bool = True
) -> str:
    """Text that names the incompletely measured frames of a slice; empty if there are none.

    Parameters
    ----------
    mask
        ``(frames, ky)`` sampling mask.
    centre
        The row at the centre of k-space.
    location
        Text that names the slice, if there are several slices.
    has_option
        Whether an option selects frames.
    """
    incomplete = _incomplete(mask)
    if not incomplete.any():
        return ""
    parts = "; ".join(_incomplete_texts(mask, incomplete, centre))
    complete = _complete_run(incomplete)
    option = f"; --frames {complete[0]}:{complete[1]} excludes them" if complete and has_option else ""
    return f"incompletely measured frames{location}: {parts} - do not trust their images{option}"


def _incomplete(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The frames that lack lines, ``(frames,)`` bool, from the mask ``(frames, ky)``."""
    n_lines = mask.sum(1)
    fullest, usual = mask[n_lines.argmax()], int(np.median(n_lines))
    if (mask & ~fullest).any():  # frames have different masks
        return np.asarray(n_lines < INCOMPLETE_FRACTION * usual)
    has_more = n_lines > usual
    if 0 < has_more.mean() <= MAX_CALIBRATION_FRAMES and _are_central(
        fullest & ~mask[n_lines == usual].any(0), fullest
    ):
        return np.asarray(n_lines < usual)  # the other frames also contain calibration lines
    return np.asarray(n_lines < n_lines.max())


def _are_central(extra: NDArray[np.bool_], lines: NDArray[np.bool_]) -> bool:
    """Whether additional lines are several lines in the middle half of all lines, both ``(ky,)`` bool."""
    added, measured = (np.flatnonzero(part) for part in (extra, lines))
    quarter = (measured[-1] - measured[0]) / 4
    is_middle = added.size and added[0] >= measured[0] + quarter and added[-1] <= measured[-1] - quarter
    return bool(is_middle and added.size >= MIN_CALIBRATION_LINES)


def _incomplete_texts(mask: NDArray[np.bool_], incomplete: NDArray[np.bool_], centre: int) -> Iterator[str]:
    """Texts that describe the first incomplete frames with their numbers of lines, and the number of further ones."""
    n_lines = mask.sum(1)
    expected = int(np.median(n_lines[~incomplete]))
    numbers = np.flatnonzero(incomplete)
    for number in numbers[:MAX_LISTED_FRAMES]:
        has_centre = mask[number, max(centre - CENTRE_HALF_WIDTH, 0) : centre + CENTRE_HALF_WIDTH + 1].any()
        yield (
            f"frame {number} has {n_lines[number]} of {expected} "
            f"lines{'' if has_centre else ', none of them at the centre'}"
        )
    if len(numbers) > MAX_LISTED_FRAMES:
        yield f"and {len(numbers) - MAX_LISTED_FRAMES} more"


def _complete_run(incomplete: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The frames before or after all incomplete frames; None if there are complete frames on both sides."""
    numbers = np.flatnonzero(incomplete)
    first, last = int(numbers[0]), int(numbers[-1])
    if last == len(incomplete) - 1 and first > 0:
        return (0, first)
    return (last + 1, len(incomplete)) if first == 0 and last + 1 < len(incomplete) else None
