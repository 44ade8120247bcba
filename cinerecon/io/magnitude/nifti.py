"""Magnitude cines in NIfTI files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import FileError, NotACineError, UnsupportedError
from cinerecon.io.magnitude.images import MagnitudeImages, geometry_of
from cinerecon.io.untrusted import refuse_pipe

ENDINGS = (".nii", ".nii.gz")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
MILLISECONDS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}


def open_nifti(path: Path, *, fewest_frames: int = 2) -> MagnitudeImages:
    """Open a NIfTI file (x, y, slice, time) with real pixels.

    Parameters
    ----------
    path
        The file.
    fewest_frames
        Smallest number of frames.

    Raises
    ------
    FileError
        If it is missing or damaged.
    NotACineError
        If it has no time axis, or too few frames.
    UnsupportedError
        If it has complex pixels.
    """
    import nibabel

    refuse_pipe(path)
    try:
        image: Any = nibabel.load(path)
        shape, dtype = image.shape, image.get_data_dtype()
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        raise FileError(f"cannot read the NIfTI file: {error}", where=str(path)) from None
    if len(shape) != 4 or shape[3] < fewest_frames:
        what = f"the image is {shape}, a cine has (x, y, slices, frames)"
        raise NotACineError(what, kind="images without a time axis", where=str(path))
    if dtype.kind not in "iuf":
        raise UnsupportedError(f"the pixels are {dtype}, expected magnitudes", where=str(path))

    def read(number: int) -> tuple[NDArray[Any], CineMeta]:
        try:
            pixels = np.asarray(image.dataobj[:, :, number, :], np.float32)
        except Exception as error:  # as above
            raise FileError(f"the NIfTI file is damaged: {error}", where=str(path)) from None
        return pixels.transpose(2, 1, 0), _nifti_meta(path, image, number)

    return MagnitudeImages(path, "", shape[2], "", False, (path,), read)


def _nifti_meta(path: Path, image: Any, number: int) -> CineMeta:
    """Geometry and times: x of the image is the first axis of the file, y the second."""
    x, y, _, frames = image.shape
    length_unit, time_unit = image.header.get_xyzt_units()
    affine = np.asarray(image.affine, float) * MILLIMETRES.get(length_unit, 1.0)
    columns = RAS_TO_LPS @ affine[:3, :3]
    dx, dy, thickness = (float(length) for length in np.linalg.norm(columns, axis=0))
    centre = RAS_TO_LPS @ (affine[:3] @ [x // 2, y // 2, number, 1])
    has_position = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    step = float(image.header.get_zooms()[3]) * MILLISECONDS.get(time_unit, 0.0)
    return CineMeta(
        source=str(path),
        slice=number,
        frame_times_ms=tuple(step * frame for frame in range(frames)) if step > 0 else (),
        pixel_size_mm=(dy or 1.0, dx or 1.0),
        slice_thickness_mm=thickness or 1.0,
        geometry=geometry_of(centre, columns[:, 0], columns[:, 1]) if has_position else None,
    )
