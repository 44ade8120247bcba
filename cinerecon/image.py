"""A reconstructed slice, with the properties that all image formats need: window, times, geometry."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cinerecon.axes import IMAGE, describe_values
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, ShapeError
from cinerecon.memory import release_pages
from cinerecon.provenance import Provenance, series_texts
from cinerecon.verdict import Verdict

Vector = NDArray[np.float64]
FirstVoxel = tuple[Vector, Vector, Vector, Vector]
"""Centre of the first voxel [mm], and the unit vectors along x, along y and across the slice (LPS)."""

MAX_WINDOW_PIXELS = 2**23
"""Number of pixels from which a display window is determined; larger series are subsampled."""
WHITE_PERCENTILE = 99.5
"""Percentile of the magnitudes that is shown as white."""
UNKNOWN_FRAME_MS = 40.0
"""Frame interval of movies if the scan does not contain it; never written to files as a time [ms]."""
QUANTITIES = {"snr": "SNR", "noise": "noise", "uncertainty": "uncertainty", "velocity": "velocity"}
"""Maps of an image: the part of the file name, and the name of the quantity."""
MAX_POSITION_ERROR = 0.1
"""Largest distance of a voxel from its position by the affine of a volume, relative to the pixel size."""
SMALLEST_SPACING_MM = 0.1
"""Distance below which slices are at the same location [mm]."""
BACKGROUND_PHASE = "background phase offset is not corrected"
"""Note on all velocities."""
DEIDENTIFIED = "of the patient and study data, only the protocol name is kept"
"""Description of the de-identification, written to every format that has an element for it."""


@dataclass(frozen=True, eq=False)
class CineImage:
    """One reconstructed slice. Image and reference may be tensors, which become NumPy arrays.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex64.
    reference
        ``(frames, y, x)`` complex64 reference; None if there is none.
    meta
        Source, slice, frame times, geometry, and kind of the reference.
    method
        Name of the reconstruction method.
    convergence
        Convergence of an iterative method, by name: one number per iteration ``(iterations,)``.
    header_xml
        De-identified XML header of the raw scan; empty if there is none.
    provenance
        Provenance of the image.
    noise
        ``(frames, y, x)`` float32, standard deviation of the noise in the units of the image; None if it was not
        mapped.
    noise_source
        The origin of `noise`, as text.
    uncertainty
        ``(frames, y, x)`` float32, standard deviation of the image over variants of the data, in the units of the
        image; None if it was not mapped.
    uncertainty_source
        The origin of `uncertainty`, as text.
    quantity
        A key of `QUANTITIES` if the values of `image` are a map; empty for an image.
    velocity
        ``(frames, y, x)`` float32, velocity along the encoded direction [cm/s]; None unless the scan is phase
        contrast.
    venc_cm_s
        Velocity at which the phase difference is pi [cm/s].
    verdict
        Expected error of the image, and whether it can be used; None if no verdict was estimated.

    Raises
    ------
    ShapeError
        If axes are missing, or image, reference and maps differ in size.
    """

    image: NDArray[np.complex64]
    reference: NDArray[np.complex64] | None = None
    meta: CineMeta = field(default_factory=CineMeta)
    method: str = ""
    convergence: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    header_xml: str = ""
    provenance: Provenance | None = None
    noise: NDArray[np.float32] | None = None
    noise_source: str = ""
    quantity: str = ""
    velocity: NDArray[np.float32] | None = None
    venc_cm_s: float = 0.0
    verdict: Verdict | None = None
    uncertainty: NDArray[np.float32] | None = None
    uncertainty_source: str = ""

    def __post_init__(self) -> None:
        for name in ("image", "reference"):
            if hasattr(array := getattr(self, name), "detach"):  # a tensor, without importing PyTorch
                object.__setattr__(self, name, array.detach().cpu().numpy())
        if not isinstance(self.image, np.ndarray):
            raise ShapeError(f"image is of type {type(self.image).__name__}, expected an array")
        if not isinstance(self.meta, CineMeta):
            raise ShapeError(f"meta is of type {type(self.meta).__name__}, expected CineMeta")
        if self.image.ndim != len(IMAGE):
            raise ShapeError(f"image has {self.image.ndim} axes, expected ({', '.join(IMAGE)})")
        for name in ("reference", "noise", "uncertainty", "velocity"):
            values = getattr(self, name)
            if values is not None and values.shape != self.image.shape:
                raise ShapeError(f"{name} is {values.shape}, expected {self.image.shape} as the image")

    def __repr__(self) -> str:
        """Sizes and types of the arrays, the method and the source."""
        arrays = [(name, getattr(self, name)) for name in ("image", "reference", "noise", "uncertainty", "velocity")]
        texts = [describe_values(name, array) for name, array in arrays if array is not None]
        return f"CineImage({', '.join([*texts, *filter(None, (self.method, self.meta.where))])})"

    @property
    def n_frames(self) -> int:
        """Number of time steps."""
        result: int = self.image.shape[0]
        return result

    @property
    def matrix(self) -> tuple[int, int]:
        """Image size (y, x)."""
        return self.image.shape[1], self.image.shape[2]

    @property
    def magnitude(self) -> NDArray[np.float32]:
        """``(frames, y, x)`` float32."""
        return np.abs(self.image).astype(np.float32)

    @property
    def values(self) -> NDArray[np.float32]:
        """``(frames, y, x)`` float32 values for files without complex numbers: the magnitude, or a signed velocity."""
        return self.image.real.astype(np.float32) if self.quantity == "velocity" else self.magnitude

    @property
    def snr(self) -> NDArray[np.float32] | None:
        """``(frames, y, x)`` float32, the magnitude in units of its noise; None if noise was not mapped."""
        if self.noise is None:
            return None
        return np.divide(self.magnitude, self.noise, out=np.zeros_like(self.magnitude), where=self.noise > 0)

    @property
    def title(self) -> str:
        """The method, and the quantity of a map, e.g. ``cgsense SNR``."""
        return f"{self.method} {QUANTITIES[self.quantity]}" if self.quantity else self.method

    @property
    def times_ms(self) -> tuple[float, ...]:
        """Time of each frame [ms]; empty if times are missing, not finite or do not increase."""
        times = self.meta.frame_times_ms
        is_known = len(times) == self.n_frames and all(map(math.isfinite, times))
        return times if is_known and all(after > before for before, after in pairwise(times)) else ()

    @property
    def frame_interval_ms(self) -> float | None:
        """Mean time between frames [ms]; None if it is unknown."""
        times = self.times_ms
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Texts that accompany the image in every format: not for diagnostic use, its verdict and its warnings."""
        source = self.uncertainty_source if self.quantity == "uncertainty" else self.noise_source
        map_texts = (f"{QUANTITIES[self.quantity]}: {source}",) if self.quantity else ()
        if self.quantity == "velocity":
            map_texts = (f"velocity in cm/s, VENC {self.venc_cm_s:g} cm/s, {BACKGROUND_PHASE}",)
        verdict_texts = () if self.verdict is None else (self.verdict.remark,)
        warnings = (f"warning: {text}" for text in self.meta.warnings)
        return ("not for diagnostic use", *map_texts, *verdict_texts, *warnings)

    @property
    def map_remarks(self) -> tuple[str, ...]:
        """The remarks of a map without its warnings; empty for an image."""
        return tuple(text for text in self.remarks if self.quantity and not text.startswith("warning"))

    @property
    def first_voxel(self) -> FirstVoxel | None:
        """Position of the first voxel and orientation of the image; None if the scan has no geometry."""
        geometry = self.meta.geometry
        return None if geometry is None else locate_first_voxel(geometry, self.meta.pixel_size_mm, self.matrix)


def as_map(cine: CineImage, quantity: str) -> CineImage:
    """The map of a quantity, a key of `QUANTITIES`, as a separate series.

    Raises
    ------
    DataError
        If there is no such map.
    """
    values: NDArray[np.float32] | None = getattr(cine, quantity)
    if values is None:
        reasons = {"velocity": "the scan is not phase contrast", "uncertainty": "the uncertainty was not mapped"}
        raise DataError(reasons.get(quantity, "the noise of this image was not mapped"), where=cine.meta.source)
    return replace(
        cine,
        image=values.astype(np.complex64),
        reference=None,
        convergence={},
        noise=None,
        uncertainty=None,
        velocity=None,
        verdict=None,
        quantity=quantity,
    )


def map_in_remarks(remarks: Iterable[str]) -> str:
    """The name of the quantity of a map whose file holds these remarks, see `CineImage.remarks`; empty for images."""
    for text in remarks:
        for name in QUANTITIES.values():
            if text.startswith((f"{name}: ", f"{name} in ")):
                return name
    return ""


def locate_first_voxel(geometry: Geometry, pixel_size_mm: tuple[float, float], matrix: tuple[int, int]) -> FirstVoxel:
    """The centre of the voxel [0, 0], and the directions.

    The position of a slice is that of the pixel (y // 2, x // 2), where the centred Fourier transform puts the point of
    zero phase: p0 = p - (y // 2) dy phase_dir - (x // 2) dx read_dir.
    """
    read, phase, across = (np.array(v, float) for v in (geometry.read_dir, geometry.phase_dir, geometry.slice_dir))
    dy, dx = pixel_size_mm
    y, x = matrix
    corner = np.array(geometry.position_mm, float) - (y // 2) * dy * phase - (x // 2) * dx * read
    return corner, read, phase, across


def collect_warnings(cines: list[CineImage]) -> tuple[str, ...]:
    """Warnings without duplicates, with the slices that they concern unless they concern all slices."""
    by_text: dict[str, list[int]] = {}
    for cine in cines:
        for text in dict.fromkeys(cine.meta.warnings):
            by_text.setdefault(text, []).append(cine.meta.slice)
    lines = []
    for text, slices in by_text.items():
        concerns_all = len(slices) == len(cines)
        lines.append(text if concerns_all else f"slice {', '.join(map(str, slices))}: {text}")
    return tuple(lines)


def file_notes(cines: list[CineImage]) -> list[str]:
    """Lines for the comments of a file: remarks on maps, then warnings, then the provenance, one value per line."""
    texts = series_texts([cine.provenance for cine in cines])
    warnings = (f"warning: {text}" for text in collect_warnings(cines))
    return [*cines[0].map_remarks, *warnings, *(f"{name}: {text}" for name, text in texts.items())]


def stacks(cines: list[CineImage]) -> list[list[CineImage]]:
    """Split slices into stacks that fit one volume: equal sizes, frames and orientation, evenly spaced in order.

    Slices without geometry are stacked by size alone.
    """
    groups: list[list[CineImage]] = []
    for cine in cines:
        if groups and _continues(groups[-1], cine):
            groups[-1].append(cine)
        else:
            groups.append([cine])
    return groups


def _continues(stack: list[CineImage], cine: CineImage) -> bool:
    """Whether a stack with one more slice is a volume whose affine gives the positions of all voxels."""
    last, first = stack[-1], stack[0]
    if cine.image.shape != last.image.shape or cine.meta.pixel_size_mm != last.meta.pixel_size_mm:
        return False
    if first.first_voxel is None or cine.first_voxel is None:
        return first.first_voxel is cine.first_voxel
    slices = [*stack, cine]
    spacing, across = slice_spacing_mm(slices), first.first_voxel[3]
    is_same_side = float(cine.first_voxel[3] @ across) > 0
    if not is_same_side or abs(spacing) < SMALLEST_SPACING_MM:
        return False
    corners = np.stack([_corners_mm(other) for other in slices])
    expected = corners[0] + spacing * np.arange(len(slices))[:, None, None] * across
    largest_error = float(np.linalg.norm(corners - expected, axis=-1).max())
    return largest_error < MAX_POSITION_ERROR * min(cine.meta.pixel_size_mm)


def _corners_mm(cine: CineImage) -> NDArray[np.float64]:
    """Positions of the four outermost voxels of a slice with geometry, ``(4, 3)`` [mm]."""
    assert cine.first_voxel is not None
    corner, read, phase, _ = cine.first_voxel
    (dy, dx), (y, x) = cine.meta.pixel_size_mm, cine.matrix
    down, right = (y - 1) * dy * phase, (x - 1) * dx * read
    return corner + np.stack([0 * down, down, right, down + right])


def slice_spacing_mm(stack: list[CineImage]) -> float:
    """Signed distance of adjacent slices along slice_dir [mm]; the thickness of a single slice."""
    first, last = stack[0].first_voxel, stack[-1].first_voxel
    if len(stack) == 1 or first is None or last is None:
        return stack[0].meta.slice_thickness_mm
    return float((last[0] - first[0]) @ first[3]) / (len(stack) - 1)


def each(cines: Iterable[CineImage]) -> Iterator[CineImage]:
    """The slices one after the other; pages of mapped files are released after each, so that they take no memory."""
    for cine in cines:
        yield cine
        for values in vars(cine).values():
            release_pages(values)


def window(images: Iterable[NDArray[np.float32]]) -> float:
    """The magnitude shown as white: a percentile, so that a few bright pixels do not darken the rest."""
    parts: list[NDArray[np.float32]] = []
    step = 1
    for image in images:
        parts.append(image[:: max(1, len(image) // 8)].ravel()[::step].copy())
        if sum(map(len, parts)) > MAX_WINDOW_PIXELS:
            parts, step = [np.concatenate(parts)[::2].copy()], 2 * step
    white = float(np.percentile(np.concatenate(parts), WHITE_PERCENTILE, overwrite_input=True))
    return white if math.isfinite(white) and white > 0 else 1.0


def grey(magnitude: NDArray[np.float32], white: float) -> NDArray[np.uint8]:
    """Magnitude to 8 bits, zero black and ``white`` white."""
    pixels: NDArray[np.uint8] = np.clip(magnitude * (255 / white) + 0.5, 0, 255).astype(np.uint8)
    return pixels
