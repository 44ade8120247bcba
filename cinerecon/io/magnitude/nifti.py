"""Magnitude cines in NIfTI files."""

import gzip
import math
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, NotACineError, UnsupportedError
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of
from cinerecon.io.plausibility import (
    EXCHANGED_SLICES,
    NOT_ORTHONORMAL,
    UNKNOWN_TIMES,
    are_orthonormal,
    has_exchanged_slices,
    thickness_or_default,
    with_plausibility_warnings,
)
from cinerecon.io.untrusted import refuse_pipe, reporting_damage

ENDINGS = (".nii", ".nii.gz")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
THICKER = 1.5
"""Ratio of the voxel sizes above which a short axis is considered the slice axis."""
DAMAGED = "the NIfTI file is damaged"
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
MILLISECONDS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
MAX_SIZE_DEVIATION = 0.01
"""Relative difference of two voxel sizes in the header above which it is reported."""
MAX_SHIFT = 0.5
"""Distance of a voxel by sform and qform, in units of the smallest voxel size, above which it is reported."""


def open_nifti(path: Path, *, fewest_frames: int = 2) -> MagnitudeImages:
    """Open a NIfTI file (x, y, slice, time) with real pixels.

    The slice axis may also be the first or the second one, e.g. after reorientation to the axes of the patient.

    Parameters
    ----------
    path
        The file.
    fewest_frames
        Smallest number of frames.

    Raises
    ------
    FileError
        If the file is missing or damaged.
    NotACineError
        If there is no time axis, or there are too few frames.
    UnsupportedError
        If the pixels are complex.
    """
    import nibabel

    refuse_pipe(path)
    with reporting_damage("cannot read the NIfTI file", path):
        image: Any = nibabel.load(path)
        shape, dtype = image.shape, image.get_data_dtype()
    if len(shape) < 4 or shape[3] < fewest_frames or math.prod(shape[4:]) > 1:
        what = f"the image is {shape}, but a cine has (x, y, slices, frames)"
        raise NotACineError(what, kind="images without a time axis", where=str(path))
    if dtype.kind not in "iuf":
        raise UnsupportedError(f"the pixels are {dtype}, expected magnitudes", where=str(path))

    slice_axis = _slice_axis(shape[:4], image.header.get_zooms())
    with reporting_damage(DAMAGED, path):
        warnings = list(_contradictions(image))

    @cache
    def ordered() -> Any:
        result = _decompressed(path, image) if path.name.lower().endswith(".gz") else image
        result = result if slice_axis == 2 else _with_slices_third(path, result, slice_axis)
        _require_order(path, result)
        return result

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        return _pixels(path, ordered(), number), _nifti_meta(path, ordered(), number, warnings)

    return MagnitudeImages(path, "", shape[slice_axis], "", False, (path,), read)


def _units(header: Any) -> tuple[float, float]:
    """The units of length [mm], which is 1 if it is not given, and of time [ms], which is 0 if it is not given."""
    try:
        length, time = header.get_xyzt_units()
    except KeyError:  # a code that NIfTI does not define
        return 1.0, 0.0
    return MILLIMETRES.get(length, 1.0), MILLISECONDS.get(time, 0.0)


def _contradictions(image: Any) -> Iterator[str]:
    """Warnings about two positions or two voxel sizes in the header."""
    from nibabel.spatialimages import HeaderDataError

    unit, _ = _units(image.header)
    affine, sizes = np.asarray(image.affine, float), np.array(image.header.get_zooms()[:3], float)
    own = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(own, sizes, rtol=MAX_SIZE_DEVIATION):
        by_affine, by_pixdim = (" x ".join(f"{unit * size:.3g}" for size in three) for three in (own, sizes))
        yield f"voxels are {by_affine} mm by the sform and {by_pixdim} mm by pixdim: the sform is used"
        return
    if min(int(image.header["sform_code"]), int(image.header["qform_code"])) > 0:
        try:
            qform = image.get_qform()
        except (HeaderDataError, ValueError):  # a quaternion that is not a rotation
            return
        corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in image.shape[:3]))])
        shifts = np.linalg.norm(corners @ (affine - qform).T, axis=1)
        if shifts.max() > MAX_SHIFT * own.min():
            yield f"sform and qform place the images up to {unit * shifts.max():.3g} mm apart: the sform is used"


def _slice_axis(shape: tuple[int, ...], sizes: Sequence[float]) -> int:
    """The slice axis: the third, unless another axis is shorter and has clearly larger voxels or only one voxel."""
    for axis in (0, 1):
        others = [float(sizes[other]) for other in range(3) if other != axis]
        is_thick = shape[axis] == 1 or float(sizes[axis]) > THICKER * max(others)
        if shape[axis] < shape[2] and is_thick:
            return axis
    return 2


def _decompressed(path: Path, image: Any) -> Any:
    """The decompressed image in memory, since reading a slice from the file would decompress all of it."""
    n_bytes = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    with reporting_damage(DAMAGED, path), gzip.open(path) as file:
        return type(image).from_bytes(file.read(n_bytes))


def _with_slices_third(path: Path, image: Any, axis: int) -> Any:
    """The image with the slice axis as third axis; the order of the other two is preserved."""
    order = [number for number in range(3) if number != axis] + [axis]
    with reporting_damage(DAMAGED, path):
        return image.as_reoriented([[order.index(number), 1] for number in range(3)])


def _pixels(path: Path, image: Any, number: int, frames: slice = slice(None)) -> NDArray[np.float32]:
    """Read one slice, or some of its frames, ``(frames, y, x)``."""
    with reporting_damage(DAMAGED, path):
        values = np.asarray(image.dataobj[:, :, number, frames], np.float32)
        return values.reshape(values.shape[:3]).transpose(2, 1, 0)


def _require_order(path: Path, image: Any) -> None:
    """Refuse a file with axes (x, y, time, slice), whose slices would be read as frames."""
    n_slices, n_frames = image.shape[2:4]
    if has_exchanged_slices(n_slices, n_frames, partial(_pixels, path, image)):
        hint = "the axes of NIfTI are (x, y, slices, frames): exchange the last two"
        raise DataError(EXCHANGED_SLICES, where=str(path), hint=hint)


def _nifti_meta(path: Path, image: Any, number: int, header_warnings: Sequence[str]) -> CineMeta:
    """The metadata of a slice, with the warnings about the header; x is the first axis of the file, y the second."""
    x, y, _, frames = image.shape[:4]
    length_unit_mm, time_unit_ms = _units(image.header)
    affine = np.asarray(image.affine, float) * length_unit_mm
    columns = RAS_TO_LPS @ affine[:3, :3]
    dx, dy = (float(length) for length in np.linalg.norm(columns[:, :2], axis=0))
    centre = RAS_TO_LPS @ (affine[:3] @ [x // 2, y // 2, number, 1])
    geometry, warnings = None, list[str]()
    if int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0:
        geometry, warnings = _geometry(centre, columns)
    step = float(image.header.get_zooms()[3]) * time_unit_ms
    thickness_mm, no_thickness = thickness_or_default(_thickness_mm(columns))
    meta = CineMeta(
        source=str(path),
        slice=number,
        frame_times_ms=tuple(step * frame for frame in range(frames)) if step > 0 else (),
        pixel_size_mm=(dy or 1.0, dx or 1.0),
        slice_thickness_mm=thickness_mm,
        geometry=geometry,
        warnings=(*header_warnings, *warnings, *no_thickness, *([] if step > 0 or frames == 1 else [UNKNOWN_TIMES])),
    )
    return with_plausibility_warnings(meta, (y, x), "header")


def _thickness_mm(columns: NDArray[Any]) -> float:
    """Distance between adjacent slices along their normal [mm]; 0 if it is unknown."""
    normal = np.cross(columns[:, 0], columns[:, 1])
    length = float(np.linalg.norm(normal))
    return abs(float(normal @ columns[:, 2])) / length if length > 0 else float(np.linalg.norm(columns[:, 2]))


def _geometry(centre: NDArray[Any], columns: NDArray[Any]) -> tuple[Geometry | None, list[str]]:
    """The geometry of a slice from its centre and the columns of the affine; None, with a warning, if it is sheared."""
    in_plane = columns[:, :2].T
    lengths = np.linalg.norm(in_plane, axis=1, keepdims=True)
    if not (lengths > 0).all() or not are_orthonormal(in_plane / lengths):
        return None, [NOT_ORTHONORMAL]
    return geometry_of(centre, *in_plane), []
