"""What every kind of file gives: slices, each a `CineData`."""

from pathlib import Path
from typing import Protocol

from cinerecon.cine import CineData


class CineSource(Protocol):
    """An opened file whose slices are read one at a time."""

    @property
    def n_slices(self) -> int:
        """Number of slices."""

    @property
    def header_xml(self) -> str | None:
        """The XML header of a raw scan without what it says of the patient, to be kept with its images."""

    @property
    def person(self) -> str:
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
