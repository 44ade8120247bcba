"""Read a measured magnitude cine: a NumPy archive with the images, their times and their place in the patient."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.data.cine import Geometry, Vector
from cinerecon.errors import DataError, FileError


@dataclass(frozen=True, eq=False)
class MagnitudeCine:
    """A series of magnitude images of one slice.

    Attributes
    ----------
    magnitude
        ``(frames, y, x)`` float32, largest value 1.
    frame_times_ms
        Time of each frame since the R wave [ms].
    pixel_size_mm, slice_thickness_mm
        Distance of neighbouring pixels along (y, x), and thickness of the slice [mm].
    geometry
        Position of the pixel (y // 2, x // 2) and orientation.
    """

    magnitude: NDArray[np.float32]
    frame_times_ms: tuple[float, ...]
    pixel_size_mm: tuple[float, float]
    slice_thickness_mm: float
    geometry: Geometry


def read_magnitude_cine(path: Path, n_frames: int, matrix: tuple[int, int]) -> MagnitudeCine:
    """Read the first frames of a magnitude cine, cut out around its centre.

    Parameters
    ----------
    path
        ``.npz`` with ``magnitude`` (frames, rows, columns), ``trigger_time_ms``, ``pixel_spacing_mm`` (row, column),
        ``slice_thickness_mm``, and as in DICOM ``image_orientation_patient`` and ``image_position_patient``.
    n_frames
        Number of frames to take.
    matrix
        Image size (y, x) to cut out.

    Raises
    ------
    FileError
        If the file cannot be read.
    DataError
        If an array is missing, or there are fewer frames or pixels than asked for.
    """
    try:
        with np.load(path) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in file.files}
        magnitude = arrays["magnitude"]
        row, column = np.split(arrays["image_orientation_patient"], 2)
        spacing, corner = arrays["pixel_spacing_mm"], arrays["image_position_patient"]
        times, thickness = arrays["trigger_time_ms"], float(arrays["slice_thickness_mm"])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(f"cannot read the cine: {error}", where=str(path)) from None
    except KeyError as error:
        raise DataError(f"the cine has no array {error}", where=str(path)) from None
    for axis, found, wanted in zip(("frames", "rows", "columns"), magnitude.shape, (n_frames, *matrix), strict=True):
        if found < wanted:
            hint = "ask for fewer with --frames, --ky or --kx"
            raise DataError(f"the cine has {found} {axis}, {wanted} are asked for", where=str(path), hint=hint)
    y, x = ((n - m) // 2 for n, m in zip(magnitude.shape[1:], matrix, strict=True))
    cut = magnitude[:n_frames, y : y + matrix[0], x : x + matrix[1]]
    centre = corner + (x + matrix[1] // 2) * spacing[1] * row + (y + matrix[0] // 2) * spacing[0] * column
    geometry = Geometry(_vector(centre), _vector(row), _vector(column), _vector(np.cross(row, column)), "HFS")
    return MagnitudeCine(
        (cut / cut.max()).astype(np.float32),
        tuple(float(t - times[0]) for t in times[:n_frames]),
        (float(spacing[0]), float(spacing[1])),
        thickness,
        geometry,
    )


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
