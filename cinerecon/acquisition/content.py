"""The content of a file: what `inspect` shows of raw scans, and of other files after they have been read."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CineContent:
    """The content of a raw scan or of another file.

    Attributes
    ----------
    n_slices, n_frames
        Number of slices, and number of frames of each slice in the order of position.
    n_coils
        Number of coils of the image readouts, without excluded coils.
    matrix, pixel_size_mm
        Size of the image and of a pixel along (y, x), the latter in mm.
    lines_per_frame, n_lines
        Mean number of distinct lines per frame, and number of lines in the extent that the scan covers.
    acceleration, acceleration_without_acs
        Ratio of the lines of the extent to the lines per frame; the second value excludes calibration lines from both.
    n_acs
        Number of central lines that every frame measures.
    warnings
        Warnings about the scan and its slices, without duplicates.
    """

    n_slices: int
    n_frames: tuple[int, ...]
    n_coils: int
    matrix: tuple[int, int]
    pixel_size_mm: tuple[float, float]
    lines_per_frame: float
    n_lines: int
    acceleration: float
    acceleration_without_acs: float
    n_acs: int
    warnings: tuple[str, ...]
