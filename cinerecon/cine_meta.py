"""The metadata of one slice: source, times, geometry and warnings."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

Vector = tuple[float, float, float]
Extent = tuple[slice, slice]
"""The ky lines and kx columns that a scan covers; ``slice(None)`` selects the whole axis."""

TIME_ROUNDING_MS = 1e-6
"""Largest difference between times that is due to rounding [ms]."""

REFERENCES = {
    "truth": "the reference in the scan",
    "twin": "the corresponding fully sampled file",
    "all samples": "the image of all its samples",
    "some samples": "the image of all its samples, in which part of k-space is missing: anything that a method fills "
    "in counts as error",
}
"""Kinds of reference, with their names for comparisons with an image."""


def vector(values: Iterable[float]) -> Vector:
    """Three numbers as a position or a direction."""
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class Geometry:
    """Position and orientation of a slice in the patient (LPS coordinates, as in ISMRMRD and DICOM).

    Attributes
    ----------
    position_mm
        Centre of the slice [mm].
    read_dir, phase_dir, slice_dir
        Unit vectors along x (readout), along y (phase encode) and across the slice.
    patient_position
        Position of the patient in the scanner, e.g. ``HFS``; empty if unknown.
    """

    position_mm: Vector
    read_dir: Vector
    phase_dir: Vector
    slice_dir: Vector
    patient_position: str = ""

    @classmethod
    def of(
        cls,
        position_mm: Iterable[float],
        read_dir: Iterable[float],
        phase_dir: Iterable[float],
        slice_dir: Iterable[float],
        patient_position: str = "",
    ) -> "Geometry":
        """The geometry from arrays or other sequences of three numbers."""
        position, read, phase, across = map(vector, (position_mm, read_dir, phase_dir, slice_dir))
        return cls(position, read, phase, across, patient_position)


@dataclass(frozen=True)
class CineMeta:
    """Metadata of a slice. Contains no tensors.

    Attributes
    ----------
    source
        File from which the data were read.
    slice
        Index of the slice, sorted by position.
    frame_times_ms
        Time of each frame relative to the first [ms]; empty if unknown.
    pixel_size_mm
        Distance between adjacent pixels along (y, x) [mm].
    slice_thickness_mm
        Thickness of the slice [mm].
    geometry
        Position and orientation; None if the file contains none, in which case none is written.
    protocol
        Name of the scan.
    warnings
        Warnings for readers of the image.
    crop_y
        Number of central rows of the image that the protocol requested; None for all. Phase oversampling adds rows that
        cannot be removed from undersampled k-space; `physics.final_image` removes them from the final image.
    interpolated_matrix
        Size (y, x) of the final image, if k-space was zero-filled: the slice has the measured matrix, and
        `physics.final_image` interpolates the image to this size. Pixel sizes are those of the final image. None if
        k-space was not zero-filled.
    reference_is
        Kind of the reference, a key of `REFERENCES`; empty if there is none or it is unknown.
    extent
        The part of k-space that the scan covers, if it was undersampled retrospectively and its mask no longer shows
        the extent; None to determine it from the mask (`physics.sampling.measured_extent`).
    is_one_beat
        Whether the frames are one complete heartbeat, combined from several beats (gated); False if unknown.
    compression
        Description of the virtual coils and of the signal loss; empty if coils were not compressed.
    is_real_time
        Whether the frames were measured consecutively over several beats or a part of one, so that the series is not
        periodic: methods and measures then do not wrap around in time.
    """

    source: str = ""
    slice: int = 0
    frame_times_ms: tuple[float, ...] = ()
    pixel_size_mm: tuple[float, float] = (1.0, 1.0)
    slice_thickness_mm: float = 1.0
    geometry: Geometry | None = None
    protocol: str = ""
    warnings: tuple[str, ...] = ()
    crop_y: int | None = None
    interpolated_matrix: tuple[int, int] | None = None
    reference_is: str = ""
    extent: Extent | None = None
    is_one_beat: bool = False
    is_real_time: bool = False
    compression: str = ""

    @property
    def where(self) -> str:
        """File and slice, for messages; empty for data that come from no file."""
        return f"{self.source}, slice {self.slice}" if self.source else ""

    @property
    def is_own_reference(self) -> bool:
        """Whether the reference is the image of all samples of the scan; it is meaningful only after undersampling."""
        return self.reference_is in ("all samples", "some samples")

    def at_measured_matrix(self, matrix: tuple[int, int]) -> "CineMeta":
        """The metadata of images that are not interpolated: pixel sizes are those of the measured matrix (y, x)."""
        if self.interpolated_matrix is None:
            return self
        sizes = zip(self.pixel_size_mm, self.interpolated_matrix, matrix, strict=True)
        y_mm, x_mm = (size * final / measured for size, final, measured in sizes)
        return replace(self, pixel_size_mm=(y_mm, x_mm), interpolated_matrix=None)

    def is_same_slice(self, other: "CineMeta") -> bool:
        """Whether another slice agrees in all but number and warnings; times may differ by rounding."""
        if len(self.frame_times_ms) != len(other.frame_times_ms):
            return False
        pairs = zip(self.frame_times_ms, other.frame_times_ms, strict=True)
        ignored = {"slice": 0, "warnings": (), "frame_times_ms": ()}
        own, their = (CineMeta(**{**vars(meta), **ignored}) for meta in (self, other))
        return own == their and all(abs(time - other_time) <= TIME_ROUNDING_MS for time, other_time in pairs)
