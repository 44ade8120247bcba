"""What every kind of file gives: slices, each a `CineData`.

What is in a file that is no raw scan of readouts: a CMRxRecon file, a prepared case.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cinerecon.cine import CineData
from cinerecon.physics.sampling import acceleration_of, count_acs, measured_extent


class CineSource(Protocol):
    """An opened file whose slices are read one at a time."""

    @property
    def n_slices(self) -> int:
        """Number of slices."""

    @property
    def header_xml(self) -> str | None:
        """The XML header of a raw scan without what it says of the patient, to be kept with its images."""

    @property
    def subject(self) -> str:
        """A word that two scans of one person share and that tells nothing else of them; empty if unknown."""

    @property
    def study(self) -> str:
        """A hash that scans of one study share; empty if unknown."""

    @property
    def frame_of_reference(self) -> str:
        """A hash of the coordinate system that positions refer to; empty if unknown."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is read from."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What makes results on it look other than on a measured scan, in the words of `io.case.MARKS`."""

    def read_slice(self, number: int, seconds: dict[str, float] | None = None) -> CineData:
        """Read one slice with its coil maps; the time these took is noted in ``seconds`` under ``maps``."""


@dataclass(frozen=True)
class CineSummary:
    """What slices are in a file, once they are read.

    Attributes
    ----------
    files
        All files that it is read from.
    n_slices, n_frames, n_coils
        Slices, frames of each, coils of the first.
    matrix, pixel_size_mm
        (y, x) of the image and of a pixel [mm].
    lines_per_frame, n_lines
        Different lines of a frame, on average, and lines of the extent that the scan covers.
    acceleration, acceleration_without_acs, n_acs
        As of a raw scan.
    n_references
        Slices whose fully sampled truth is known.
    marks
        What makes results on it look other than on a measured scan.
    warnings
        What a reader of the image should know, each once.
    """

    files: tuple[str, ...]
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
    n_references: int
    marks: tuple[str, ...]
    warnings: tuple[str, ...]


def summarise(source: CineSource, progress: Callable[[int, int], None] | None = None) -> CineSummary:
    """Read all slices of a file, one after the other, and say what they are. The sampling told is that of the first.

    Raises
    ------
    FileError, DataError
        As reading them does.
    """
    first = source.read_slice(0)
    n_frames, n_references, warnings = [], 0, dict[str, None]()
    for number in range(source.n_slices):
        data = source.read_slice(number) if number else first
        n_frames.append(data.n_frames)
        n_references += data.reference is not None
        warnings |= dict.fromkeys(data.meta.warnings)
        if progress:
            progress(number + 1, source.n_slices)
    acceleration, without_acs = acceleration_of(first)
    rows, _ = first.meta.extent or measured_extent(first.mask)
    return CineSummary(
        files=tuple(map(str, source.files)),
        n_slices=source.n_slices,
        n_frames=tuple(n_frames),
        n_coils=first.n_coils,
        matrix=first.matrix,
        pixel_size_mm=first.meta.pixel_size_mm,
        lines_per_frame=float(first.mask.any(-1).sum()) / first.n_frames,
        n_lines=rows.stop - rows.start,
        acceleration=acceleration,
        acceleration_without_acs=without_acs,
        n_acs=count_acs(first.mask) if acceleration > 1 else 0,
        n_references=n_references,
        marks=source.marks,
        warnings=tuple(warnings),
    )
