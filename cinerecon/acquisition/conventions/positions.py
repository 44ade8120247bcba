"""Slices of scans without a slice counter: readouts are grouped by position and direction."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.raw import Index

SAME_POSITION_MM, SAME_DIRECTION = 0.5, 0.03
"""Differences below which positions and directions are treated as equal; rounding and table settling are smaller."""
MAX_ROTATION = 0.17
"""Largest change of a direction within a slice (10 degrees)."""
MAX_POSITIONS = 128
"""Largest number of positions that are interpreted as slices; a larger number indicates motion."""
MIN_LINE_FRACTION = 0.5
"""Smallest number of lines at a position, relative to the largest number at any position, for a separate slice."""
MIN_REPEAT_RATIO = 1.1
"""Ratio of all lines to different lines below which the positions are interpreted as parts of one image."""


def separate_positions(readouts: Readouts, how: str) -> None:
    """Number the slices by position if one value of the slice counter has several positions.

    If ``how`` is ``slices``, each position is a slice; if it is ``one``, all positions are one slice. With ``auto``,
    positions are interpreted as slices if each has a full set of lines, and other positions that are more than half a
    slice thickness apart are refused.

    Raises
    ------
    UnsupportedError
        If the position changes within a slice.
    """
    _fill_missing_directions(readouts)
    if how == "one":
        return
    heads = readouts.raw.heads
    idx = heads["idx"]
    labels = np.zeros(len(heads), np.intp)
    for value, own in _by_slice(readouts):
        rows, positions = own.rows, _group_by_position(own)
        is_countable = len(positions.position) <= MAX_POSITIONS
        if len(positions.position) > 1 and is_countable and (how == "slices" or _are_slices(own, positions)):
            others = np.setdiff1d(np.flatnonzero(idx["slice"] == value), rows)
            labels[rows], labels[others] = positions.of_readout, positions.nearest(replace(own, rows=others))
            listed = "; ".join(_text(position) for position in positions.position[:4])
            readouts.warn(
                f"the slice counter is {value} at {len(positions.position)} positions ({listed} mm"
                f"{', ...' if len(positions.position) > 4 else ''}): each is read as a separate slice"
            )
        elif len(positions.position) > 1:
            _require_at_rest(own, positions)
    if labels.any():
        _, numbers = np.unique(
            np.stack([idx["slice"][readouts.rows], labels[readouts.rows]], 1), axis=0, return_inverse=True
        )
        _clear_counters_of_slices(readouts, numbers.ravel())
        _renumber(idx, labels, readouts.rows)


def _by_slice(readouts: Readouts) -> Iterator[tuple[int, Readouts]]:
    """The values of the slice counter, each with its readouts."""
    slices = readouts.counter("slice")
    for value in np.unique(slices).tolist():
        yield value, readouts.where(slices == value)


def _fill_missing_directions(readouts: Readouts) -> None:
    """Copy position and directions to readouts without directions from the preceding readout of the same slice."""
    names = ("position", "read_dir", "phase_dir", "slice_dir")
    heads, n_filled = readouts.raw.heads, 0
    for _, own in _by_slice(readouts):
        has_directions = _geometry(own)[1].any(1)
        known, missing = own.rows[has_directions], own.rows[~has_directions]
        if known.size and missing.size:
            source = known[np.maximum(np.searchsorted(known, missing) - 1, 0)]
            for name in names:
                heads[name][missing] = heads[name][source]
            n_filled += len(missing)
    if n_filled:
        what = f"{n_filled} of {len(readouts)} readouts have no position"
        readouts.warn(f"{what}: the position of other readouts of their slice is used")


@dataclass(frozen=True, eq=False)
class _Positions:
    """The different positions and directions of readouts with one slice counter, and the position of each readout.

    Attributes
    ----------
    position, directions
        ``(positions, 3)`` [mm] and ``(positions, 9)``.
    of_readout
        ``(readouts,)`` index of the position of each readout.
    """

    position: NDArray[np.float64]
    directions: NDArray[np.float64]
    of_readout: Index

    def nearest(self, readouts: Readouts) -> Index:
        """Index of the nearest position for other readouts, ``(readouts,)``."""
        position, directions = _geometry(readouts)
        distance = np.linalg.norm(position[:, None] - self.position, axis=-1)
        turned = np.abs(directions[:, None] - self.directions).max(-1)
        return np.asarray((distance / SAME_POSITION_MM + turned / SAME_DIRECTION).argmin(1))


def _geometry(readouts: Readouts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    directions = np.concatenate([readouts.field(name) for name in ("read_dir", "phase_dir", "slice_dir")], axis=1)
    return readouts.field("position").astype(np.float64), directions.astype(np.float64)


def _group_by_position(readouts: Readouts) -> _Positions:
    """Group readouts by position into at most ``MAX_POSITIONS + 1`` groups; one group if positions are not finite."""
    position, directions = _geometry(readouts)
    if not (np.isfinite(position).all() and np.isfinite(directions).all()):
        return _Positions(position[:1], directions[:1], np.zeros(len(readouts), np.intp))
    both = np.concatenate([position.round(1), directions.round(2)], axis=1)
    different, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    centres: list[int] = []
    group = np.zeros(len(different), np.intp)
    for number, values in enumerate(different):
        apart = np.abs(different[centres] - values) if centres else np.empty((0, 12))
        is_same = (np.linalg.norm(apart[:, :3], axis=1) <= SAME_POSITION_MM) & (
            apart[:, 3:].max(1, initial=0) <= SAME_DIRECTION
        )
        if is_same.any():
            group[number] = int(is_same.argmax())
        elif len(centres) <= MAX_POSITIONS:
            group[number] = len(centres)
            centres.append(number)
    rows = first[centres]
    return _Positions(position[rows], directions[rows], group[inverse.ravel()])


def _are_slices(readouts: Readouts, positions: _Positions) -> bool:
    """Whether each position has a full set of lines in all frames that was also measured at the other positions."""
    frames = np.stack([readouts.counter("phase"), readouts.counter("repetition")], 1)
    lines = np.column_stack([frames, readouts.lines])
    n_lines, n_frames = [], []
    for number in range(len(positions.position)):
        is_here = positions.of_readout == number
        n_lines.append(len(np.unique(lines[is_here], axis=0)))
        n_frames.append(len(np.unique(frames[is_here], axis=0)))
    is_full = min(n_lines) >= MIN_LINE_FRACTION * max(n_lines) and min(n_frames) >= MIN_LINE_FRACTION * max(n_frames)
    is_cine = min(n_frames) > 1 or len(np.unique(frames, axis=0)) == 1
    is_repeated = sum(n_lines) >= MIN_REPEAT_RATIO * len(np.unique(np.delete(lines, 1, axis=1), axis=0))
    return is_full and is_repeated and is_cine


def _require_at_rest(readouts: Readouts, positions: _Positions) -> None:
    """Check that a slice does not move by more than half its thickness and does not rotate."""
    thickness_mm = readouts.encoding.recon.fov_mm[2]
    position, directions = _geometry(readouts)
    moved = np.linalg.norm(position - position[0], axis=1)
    turned = np.abs(directions - directions[0]).max()
    if moved.max() <= max(thickness_mm / 2, SAME_POSITION_MM) and turned <= MAX_ROTATION:
        return
    listed = f"{_text(position[0])} and {_text(position[int(moved.argmax())])}"
    change = f"moves by {moved.max():.3g} mm" if moved.max() > 0 else "turns"
    number = readouts.counter("slice")[0]
    what = (
        f"the position {change} within slice {number}: {len(positions.position)} positions, such as {listed} mm; "
        f"slices are {thickness_mm:g} mm thick"
    )
    hint = (
        "--set preprocessing.positions=slices reads separate slices; "
        "--set preprocessing.positions=one reads one slice that follows the motion"
    )
    first_moved = int((positions.of_readout != positions.of_readout[0]).argmax())
    raise UnsupportedError(what, where=readouts.at(first_moved), hint=hint)


def _clear_counters_of_slices(readouts: Readouts, numbers: Index) -> None:
    """Set counters to 0 that number the separated slices, with one value at each position."""
    for name in ("repetition", "set", "contrast", "average"):
        pairs = np.unique(np.stack([numbers, readouts.counter(name)], 1), axis=0)
        if len(pairs) == numbers.max() + 1 == len(np.unique(pairs[:, 1])):
            readouts.warn(f"{name} numbers the positions of the slices: it is read as the slice counter")
            readouts.raw.heads["idx"][name] = 0


def _renumber(idx: NDArray[np.void], labels: Index, image: Index) -> None:
    """Write consecutive slice numbers, ordered by the counter and then by position."""
    both = np.stack([idx["slice"].astype(np.intp), labels], 1)
    known = np.unique(both[image], axis=0)
    numbers = {tuple(pair): number for number, pair in enumerate(known.tolist())}
    unused = len(known)
    idx["slice"] = [numbers.get(tuple(pair), unused) for pair in both.tolist()]


def _text(position: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in position) + ")"
