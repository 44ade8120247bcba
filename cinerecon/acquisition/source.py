"""An opened file of any format as a series of slices, and the subject that it belongs to."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from cinerecon.acquisition.coil_maps import FinishedSlice
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.checksums import hash_files
from cinerecon.words import counted

N_STUDY_DIGITS = 10
"""Number of hexadecimal digits of the study hash that are used to identify a subject."""


@dataclass(frozen=True)
class SliceSize:
    """The size of a slice, determined only from headers.

    Attributes
    ----------
    n_frames, n_coils, ky, kx
        Size of k-space in memory, including all sets; number of coils before compression.
    n_virtual
        Requested number of virtual coils; None if all coils are used, or if the number depends on the data.
    is_compressed_in_reading
        Whether coils are compressed during reading, so that k-space of all coils is never in memory.
    n_copies
        Number of additional copies of k-space during reading.
    block_bytes
        Size of the readouts that are transformed together [bytes].
    """

    n_frames: int
    n_coils: int
    ky: int
    kx: int
    n_virtual: int | None = None
    is_compressed_in_reading: bool = False
    n_copies: float = 0.0
    block_bytes: int = 0

    @property
    def n_used_coils(self) -> int:
        """Number of coils after compression, as far as the settings determine it."""
        return min(self.n_virtual or self.n_coils, self.n_coils)

    def __str__(self) -> str:
        """The sizes as text."""
        return f"{self.n_frames} frames x {self.n_coils} coils x {self.ky} x {self.kx}"


class CineSource(ABC):
    """An opened file whose slices are read one at a time. Slices are numbered from 0 in the order of their position."""

    @property
    @abstractmethod
    def n_slices(self) -> int:
        """Number of slices."""

    @property
    @abstractmethod
    def files(self) -> tuple[Path, ...]:
        """All files from which the slices are read."""

    @abstractmethod
    def read_timed(self, number: int) -> FinishedSlice:
        """Read one slice as in `read_slice`, and measure the time taken by the estimation of its coil maps."""

    @abstractmethod
    def size_of(self, number: int) -> SliceSize:
        """The size of a slice, without reading its samples."""

    def with_virtual_coils(self, n_virtual: int) -> "CineSource | None":  # noqa: ARG002
        """The same file with coils compressed to a number of virtual coils; None if this is not possible."""
        return None

    def read_slice(self, number: int) -> CineData:
        """Read one slice with its coil maps, and with a reference if one is available.

        Raises
        ------
        FileError, DataError
            If the slice does not exist or its samples cannot be read.
        """
        return self.read_timed(number).data

    def __repr__(self) -> str:
        """The format, the first file and the number of slices."""
        return f"{type(self).__name__}({self.files[0]}, {counted(self.n_slices, 'slice')})"

    def require_slice(self, number: int) -> None:
        """Check that a slice exists.

        Raises
        ------
        DataError
            If the slice does not exist.
        """
        if not 0 <= number < self.n_slices:
            known = "only slice 0" if self.n_slices == 1 else f"slices 0 to {self.n_slices - 1}"
            raise DataError(f"there is no slice {number}, the file has {known}", where=str(self.files[0]))

    @property
    def header_xml(self) -> str | None:
        """The de-identified XML header of a raw scan, which is stored with its images."""
        return None

    @property
    def subject(self) -> str:
        """A pseudonym that is the same for all scans of one subject; empty if unknown."""
        return ""

    @property
    def study(self) -> str:
        """A hash that is the same for all scans of one study; empty if unknown."""
        return ""

    @property
    def frame_of_reference(self) -> str:
        """A hash of the frame of reference of the positions; empty if unknown."""
        return ""

    @property
    def derived_from(self) -> str:
        """SHA-256 of the file from which a prepared case was derived; empty if unknown."""
        return ""

    @property
    def checksums(self) -> tuple[str, ...]:
        """SHA-256 of the files, and of the file from which a prepared case was derived."""
        checksum = hash_files(self.files)
        return (checksum, self.derived_from) if self.derived_from else (checksum,)

    @property
    def marks(self) -> tuple[str, ...]:
        """Properties that distinguish the data from those of a measured scan, as listed in `io.case.MARKS`."""
        return ()


def subject_in_path(pattern: str, path: Path) -> str:
    """The subject that a regular expression extracts from a path: its groups, or the whole match.

    Raises
    ------
    ConfigError
        If the pattern is not a regular expression.
    DataError
        If the path does not match.
    """
    try:
        match = re.search(pattern, path.as_posix())
    except re.error as error:
        raise ConfigError(f"'{pattern}' is not a regular expression: {error}", where="--subject") from None
    if match is None:
        raise DataError(f"the path does not match the subject pattern '{pattern}'", where=str(path))
    return "-".join(part for part in match.groups() if part) or match.group()


def subject_in_header(source: CineSource) -> str:
    """A pseudonym of the subject: a hash of the patient ID, otherwise of the study; empty if unknown."""
    return source.subject or (f"study-{source.study[:N_STUDY_DIGITS]}" if source.study else "")
