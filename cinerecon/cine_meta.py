"""The metadata of one slice: source, times, geometry and warnings."""

from collections.abc import Iterable
from dataclasses import dataclass

Vector = tuple[float, float, float]
Extent = tuple[slice, slice]
"""The ky lines and kx columns that a scan covers; ``slice(None)`` is the whole axis."""

TIME_ROUNDING_MS = 1e-6
"""Difference of times that results from rounding [ms]."""

REFERENCES = {
    "truth": "the reference in the scan",
    "twin": "the corresponding fully sampled file",
    "all samples": "the image of all its samples",
    "some samples": "the image of all its samples, in which part of k-space is missing: anything that a method fills "
    "in counts as error",
}
"""Kinds of reference, with their names where an image is compared with it."""


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


@dataclass(frozen=True)
class CineMeta:
    """Metadata of a slice. Contains no tensors.

    Attributes
    ----------
    source
        File the data came from.
    slice
        Index of the slice, sorted by position.
    frame_times_ms
        Time of each frame since the first [ms]; empty if unknown.
    pixel_size_mm
        Distance of neighbouring pixels along (y, x) [mm].
    slice_thickness_mm
        Thickness of the slice [mm].
    geometry
        Position and orientation; None where the file has none, and then none is written.
    protocol
        Name of the scan.
    warnings
        Warnings for readers of the image.
    crop_y
        Number of central rows of the image that the protocol requested; None: all. Phase oversampling adds rows that
        cannot be removed from undersampled k-space: `crop_image` removes them from the final image.
    reference_is
        Kind of reference, a key of `REFERENCES`; empty if there is none or it is not known.
    extent
        The part of k-space that the scan covers, where it was undersampled after the fact and its mask no longer shows
        it; None: as the mask shows it (`physics.sampling.measured_extent`).
    is_one_beat
        Whether the frames are one whole heart beat, put together from several (gated); False if that is not known.
    compression
        Description of the virtual coils and of the signal that they leave out; empty if coils were not compressed.
    is_real_time
        Whether the frames follow each other over several beats or a part of one, so that the first does not follow the
        last: methods and measures then do not wrap around in time.
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

    def is_same_slice(self, other: "CineMeta") -> bool:
        """Whether another slice agrees in all but number and warnings; times may differ by rounding."""
        if len(self.frame_times_ms) != len(other.frame_times_ms):
            return False
        pairs = zip(self.frame_times_ms, other.frame_times_ms, strict=True)
        ignored = {"slice": 0, "warnings": (), "frame_times_ms": ()}
        own, their = (CineMeta(**{**vars(meta), **ignored}) for meta in (self, other))
        return own == their and all(abs(time - other_time) <= TIME_ROUNDING_MS for time, other_time in pairs)
