"""Detection of frames that were not measured or are derived from others: their exclusion, and warnings about them."""

from collections.abc import Mapping, Sequence

from cinerecon.errors import DataError
from cinerecon.words import name_frames

Reasons = Mapping[str, Sequence[int]]
"""Frame numbers by reason, e.g. ``{"empty": [8, 9]}``."""


def choose_frames(n_frames: int, missing: Reasons, redundant: Reasons, where: str) -> tuple[list[int], list[str]]:
    """The frames to keep, and warnings that name the others.

    Parameters
    ----------
    n_frames
        Number of frames in the file.
    missing
        Frames that were not measured, or only partly. They are excluded at the start and the end of a series, since
        archives pad series and scans are stopped early.
    redundant
        Frames that are derived from others, which are excluded at any position.
    where
        The file and the slice, for error messages.

    Raises
    ------
    DataError
        If frames are missing between others, or fewer than two remain.
    """
    frames = [n for n in range(n_frames) if not any(n in numbers for numbers in missing.values())]
    for what, numbers in missing.items():
        if inside := [n for n in numbers if frames and frames[0] < n < frames[-1]]:
            hint = "a cine needs data in every frame: remove the empty frames from the file"
            raise DataError(f"{name_frames(inside)} of {n_frames}: {what}", where=where, hint=hint)
    frames = [n for n in frames if not any(n in numbers for numbers in redundant.values())]
    reasons = [(what, numbers) for what, numbers in (*missing.items(), *redundant.items()) if numbers]
    if len(frames) < 2 <= n_frames:
        counts = ", ".join(f"{len(numbers)} {what}" for what, numbers in reasons)
        raise DataError(f"a cine needs several frames: of {n_frames}, {counts}", where=where)
    return frames, [f"{name_frames(numbers)} of {n_frames} left out: {what}" for what, numbers in reasons]
